from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from jupyter_containers.linux import scheduling
from jupyter_containers.runtime import attributes

if TYPE_CHECKING:
    from pathlib import Path

    from jupyter_containers.oci.runtime_spec import Mount


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0", {0}), ("0-3", {0, 1, 2, 3}), ("1,3-4, 7", {1, 3, 4, 7}), ("5-5", {5})],
)
def test_lists_of_numbers(text: str, numbers: set[int]) -> None:
    assert scheduling.parse_list(text) == numbers


@pytest.mark.parametrize("text", ["", "a", "3-1", "-1", "1--2", "1,", "0-99999"])
def test_what_is_no_list(text: str) -> None:
    with pytest.raises(ValueError, match=r"int\(\)|range"):
        scheduling.parse_list(text)


@pytest.mark.parametrize(
    ("process", "file", "written"),
    [
        ({"apparmorProfile": "docker-default"}, "apparmor/exec", "exec docker-default"),
        ({"selinuxLabel": "u:r:t:s0"}, "exec", "u:r:t:s0"),
    ],
)
def test_a_label_is_written_for_the_next_program(
    tmp_path: Path, process: dict[str, Any], file: str, written: str
) -> None:
    (tmp_path / "apparmor").mkdir()
    for name in ("exec", "apparmor/exec"):
        (tmp_path / name).touch()
    directory = os.open(tmp_path, os.O_PATH)
    try:
        attributes.apply_process(process, directory)  # type: ignore[arg-type]  # the fields that count
    finally:
        os.close(directory)
    assert (tmp_path / file).read_text() == written
    assert sum(path.stat().st_size for path in (tmp_path / "exec", tmp_path / "apparmor/exec")) == len(written)


def test_file_systems_that_take_a_label_get_it() -> None:
    tmpfs: Mount = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["ro"]}
    proc: Mount = {"destination": "/proc", "type": "proc", "source": "proc"}
    assert attributes.labelled(tmpfs, "u:r:t:s0")["options"] == ["ro", 'context="u:r:t:s0"']
    assert attributes.labelled(proc, "u:r:t:s0") == proc


def test_an_error_of_the_kernel_names_the_field() -> None:
    with pytest.raises(OSError, match=r"process.scheduler: SCHED_DEADLINE: .*(argument|permitted)"):
        attributes.apply_process({"scheduler": {"policy": "SCHED_DEADLINE", "runtime": 5, "deadline": 1, "period": 1}})
