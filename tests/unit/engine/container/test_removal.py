from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from jupyter_containers.engine.container.removal import Remover
from jupyter_containers.errors import PermissionDenied

if TYPE_CHECKING:
    from pathlib import Path


class Trees:
    def __init__(self) -> None:
        self.removed: list[str] = []

    def remove(self, path: Path) -> None:
        if path.name == "stuck":
            raise PermissionDenied("immutable")
        self.removed.append(path.name)


class Process:
    def __init__(self, log: list[str]) -> None:
        self._log = log

    def close(self) -> None:
        self._log.append("closed")


def test_what_was_given_is_gone_once_it_is_closed(tmp_path: Path) -> None:
    trees = Trees()
    remover = Remover(cast("Any", trees))
    process = cast("Any", Process(trees.removed))
    remover.put(process, (tmp_path / "run", tmp_path / "stuck", tmp_path / "one"))
    remover.put(process, (tmp_path / "two",))
    remover.close()
    assert trees.removed == ["closed", "run", "one", "closed", "two"]
    remover.put(process, (tmp_path / "three",))
    remover.close()
    remover.close()
    assert trees.removed[-1] == "three"
