"""Where the store is, and that it is private."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.config import Paths, find_paths
from jupyter_containers.errors import PermissionDenied

if TYPE_CHECKING:
    from pathlib import Path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_variable_moves_everything(tmp_path: Path) -> None:
    paths = find_paths(environment={"JUPYTER_CONTAINERS_ROOT": str(tmp_path / "x")})
    assert (paths.root, paths.run) == (tmp_path / "x", tmp_path / "x" / "run")
    assert find_paths(tmp_path / "y", {"JUPYTER_CONTAINERS_ROOT": "/z"}).root == tmp_path / "y"


def test_an_ordinary_user_has_the_xdg_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    paths = find_paths(environment={"HOME": "/h", "XDG_RUNTIME_DIR": str(tmp_path)})
    assert str(paths.root) == "/h/.local/share/jupyter-containers"
    assert paths.run == tmp_path / "jupyter-containers"
    elsewhere = find_paths(environment={"HOME": "/h", "XDG_DATA_HOME": "/d", "XDG_RUNTIME_DIR": "/nowhere"})
    assert (str(elsewhere.root), str(elsewhere.run)) == ("/d/jupyter-containers", "/d/jupyter-containers/run")


def test_a_store_is_closed_to_others_also_one_that_was_open(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "store", tmp_path / "store" / "run")
    paths.ensure()
    assert (mode(paths.root), mode(paths.run)) == (0o700, 0o700)
    paths.root.chmod(0o755)
    paths.ensure()
    assert mode(paths.root) == 0o700


def test_a_place_where_no_store_can_be_is_refused_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PermissionDenied, match="cannot make the store's directory") as refused:
        Paths(tmp_path / "file" / "store", tmp_path / "run").ensure()
    assert "JUPYTER_CONTAINERS_ROOT" in str(refused.value.hint)
