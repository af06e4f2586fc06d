"""The user namespace that the containers of an ordinary user's store are in: one, whoever starts them.

A namespace lasts as long as a process is in it, so nothing holds it on purpose: whoever finds a process of the store
alive joins what that is in, and else makes a new one. Spawners leave a file named after themselves.

Source: user_namespaces(7).
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from jupyter_containers.linux import namespaces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from jupyter_containers.runtime.idmap import IdMap


class UserNamespace:
    """See the module.

    Parameters
    ----------
    directory
        Where spawners leave their names; made when it is missing.
    others
        The pids of other processes that may be in it.
    """

    def __init__(self, directory: str, others: Callable[[], Iterable[int]] = tuple) -> None:
        self._directory = directory
        self._others = others

    @contextmanager
    def joining(self, ids: IdMap) -> Iterator[int]:
        """A descriptor of the namespace, -1 where there is none with these ids yet.

        While it lasts nobody else of the store joins or makes one. The descriptor is closed afterwards.
        """
        os.makedirs(self._directory, 0o700, exist_ok=True)
        lock = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        found = -1
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = self._find(ids)
            yield found
        finally:
            if found >= 0:
                os.close(found)
            os.close(lock)

    def add(self, pid: int) -> None:
        """A spawner is in the namespace now."""
        path = f"{self._directory}/{pid}-{namespaces.start_time(pid)}"
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def _find(self, ids: IdMap) -> int:
        for pid in (*self._spawners(), *self._others()):
            with suppress(OSError):  # it has just ended, or belongs to somebody else
                if _has_ids(pid, ids):
                    return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        return -1

    def _spawners(self) -> Iterator[int]:
        for name in os.listdir(self._directory):
            pid, _, start_time = name.partition("-")
            if pid.isdigit() and str(namespaces.start_time(int(pid))) == start_time:
                yield int(pid)
            else:
                with suppress(FileNotFoundError):
                    os.unlink(f"{self._directory}/{name}")


def _has_ids(pid: int, ids: IdMap) -> bool:
    """Whether a process is in another user namespace than this one, with just these ids."""
    if same(pid, os.getpid()):
        return False
    found = []
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{pid}/{name}", encoding="ascii") as file:
            found.append(tuple(tuple(int(number) for number in line.split()) for line in file))
    return found == [ids.uids, ids.gids]


def same(one: int, other: int) -> bool:
    """Whether two processes are in one user namespace. Raises :exc:`OSError` when that cannot be seen."""
    first, second = (os.stat(f"/proc/{pid}/ns/user") for pid in (one, other))
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)
