"""The small process that starts containers, begun before the engine is imported: a command line has waited for both."""

from __future__ import annotations

import sys

from jupyter_containers.config import find_paths
from jupyter_containers.errors import EngineError
from jupyter_containers.runtime.spawner import Spawner

_MEMORY = "last-kind"
_begun: list[Spawner] = []


def begin() -> None:
    """Begin it, for one container. Where it cannot be, the engine will say so when it needs it."""
    if sys.platform != "linux":
        return
    spawner = Spawner(once=True, memory=str(find_paths().run / _MEMORY))
    try:
        spawner.begin()
    except EngineError:
        return
    _begun.append(spawner)


def take() -> Spawner:
    """The one that was begun, or one that begins at its first use."""
    return _begun.pop() if _begun else Spawner()


def dismiss() -> None:
    """End the one that was begun, if nobody took it."""
    while _begun:
        _begun.pop().close()
