"""Compiled filters are kept for later processes, and never trusted when they are damaged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.engine.launch.filters import Filters
from jupyter_containers.errors import InvalidInput
from jupyter_containers.linux import seccomp

if TYPE_CHECKING:
    from pathlib import Path

DENY = json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_KILL"}]})


def filters(directory: Path) -> Filters:
    return Filters(directory / "filters", (6, 1), "x86_64")


def test_a_kept_filter_is_not_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    default, other = filters(tmp_path).get(["CAP_CHOWN"]), filters(tmp_path).get(["CAP_CHOWN"], DENY)
    assert default != other
    assert filters(tmp_path).get(["CAP_SYS_ADMIN"]) != default
    monkeypatch.setattr(seccomp, "compile_filter", lambda *_args, **_keywords: pytest.fail("compiled again"))
    assert filters(tmp_path).get(["CAP_CHOWN"]) == default
    assert filters(tmp_path).get(["CAP_CHOWN"], DENY) == other


@pytest.mark.parametrize("damage", ["cut", "changed", "emptied"])
def test_a_damaged_filter_is_made_anew(tmp_path: Path, damage: str) -> None:
    whole = filters(tmp_path).get([])
    (file,) = (tmp_path / "filters").iterdir()
    data = file.read_bytes()
    file.write_bytes({"cut": data[:-8], "changed": data[:-1] + b"\x7f", "emptied": b""}[damage])
    assert filters(tmp_path).get([]) == whole
    assert file.read_bytes() == data


def test_another_machine_or_kernel_has_another_filter(tmp_path: Path) -> None:
    directory = tmp_path / "filters"
    found = {Filters(directory, kernel, machine).get([]) for kernel, machine in
             (((6, 1), "x86_64"), ((4, 7), "x86_64"), ((6, 1), "aarch64"))}  # fmt: skip
    assert len(found) == len(list(directory.iterdir())) == 3


def test_a_profile_that_is_not_understood_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="seccomp profile"):
        filters(tmp_path).get([], "{")
    assert not (tmp_path / "filters").exists()
