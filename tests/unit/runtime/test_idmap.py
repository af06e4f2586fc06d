from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.linux import namespaces
from jupyter_containers.runtime import idmap

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def ordinary(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(idmap, "is_privileged", lambda: False)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(namespaces, "why_no_gain", lambda _program: "")
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def files(tmp_path: Path, uids: str, gids: str) -> tuple[str, str]:
    (tmp_path / "subuid").write_text(uids)
    (tmp_path / "subgid").write_text(gids)
    return str(tmp_path / "subuid"), str(tmp_path / "subgid")


def test_ranges_of_the_user_are_used(ordinary: str, tmp_path: Path) -> None:
    found = idmap.choose(*files(tmp_path, f"{ordinary}:100000:10\n", f"{ordinary}:200000:20\n"))
    assert found.kind == "subordinate"
    assert found.uids == ((0, os.geteuid(), 1), (1, 100000, 10))
    assert found.gids == ((0, os.getegid(), 1), (1, 200000, 20))


def test_without_ranges_there_is_one_id_and_a_reason(ordinary: str, tmp_path: Path) -> None:
    subuid, subgid = files(tmp_path, f"{ordinary}:100000:10\n", "")
    found = idmap.choose(subuid, subgid)
    assert found.kind == "single"
    assert found.uids == ((0, os.geteuid(), 1),)
    assert found.reason == f"{subgid} has no range for {ordinary}"
    assert "/nowhere has no range" in idmap.choose("/nowhere", "/nowhere").reason


def test_without_the_programs_the_package_is_named(monkeypatch: pytest.MonkeyPatch, ordinary: str) -> None:
    assert ordinary
    monkeypatch.setattr("shutil.which", lambda _name: None)
    assert "package uidmap" in idmap.choose().reason


def test_programs_that_cannot_gain_privileges_are_of_no_use(ordinary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ordinary
    monkeypatch.setattr(namespaces, "why_no_gain", lambda program: f"{program} is plain")
    found = idmap.choose()
    assert (found.kind, found.reason) == ("single", "/usr/bin/newuidmap is plain")
