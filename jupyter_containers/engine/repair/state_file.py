"""Opening the state file of a store, which is repaired when it is damaged, and copied now and then for that."""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING

from jupyter_containers.errors import Corrupt, EngineError
from jupyter_containers.state import NewerState, State

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jupyter_containers.config import Paths
    from jupyter_containers.content.store import ContentStore

COPY_EVERY = 300.0
"""Seconds after which the state file is copied again."""


def open_state(paths: Paths, store: ContentStore, tell: Callable[[list[str]], None]) -> tuple[State, int]:
    """The state of a store, and the descriptor that says that somebody uses it.

    Raises
    ------
    Corrupt
        when the file is damaged and other processes have it open.
    """
    descriptor = os.open(paths.root / "state.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        state = _opened(paths)
        if state is None:
            state = _repaired(paths, store, descriptor, tell)
        if copy_path(paths).exists():
            copy(paths, state)
    except BaseException:
        os.close(descriptor)
        raise
    return state, descriptor


def _opened(paths: Paths) -> State | None:
    """The state; None when it is damaged, or was found to be so by the process that used it last."""
    if State.suspected(paths.database):
        return None
    try:
        return State(paths.database)
    except NewerState:
        raise
    except Corrupt:
        return None


def _repaired(paths: Paths, store: ContentStore, descriptor: int, tell: Callable[[list[str]], None]) -> State:
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Corrupt(
            f"the state file {paths.database} is damaged, and other processes use it",
            hint="end them (restart the notebooks that use this store); the next command then repairs it",
        ) from None
    state = _opened(paths)  # another process may have been faster
    if state is None:
        from jupyter_containers.engine.repair import state_repair  # noqa: PLC0415 - hardly ever

        state = state_repair.remake(paths, store, tell)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return state


def copy_path(paths: Paths) -> Path:
    """Where the copy of the state file is."""
    return paths.root / "state.copy"


def copy(paths: Paths, state: State) -> None:
    """Copy the state file, now and then."""
    if not _is_due(paths, state):
        return
    path = copy_path(paths)
    part = path.with_suffix(".copy.part")
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_due(paths, state):  # another process has just done so
            part.unlink()
            return
        state.copy_to(part)
        part.rename(path)
        state.copied()
    except (BlockingIOError, FileNotFoundError):  # another process copies it just now
        return
    except EngineError:  # the disk is full: there is the last one
        part.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _is_due(paths: Paths, state: State) -> bool:
    try:
        age = time.time() - copy_path(paths).stat().st_mtime
    except FileNotFoundError:
        return True
    # A copy of the future is one from before the clock was set back.
    return not 0 <= age < COPY_EVERY or state.changed_much()
