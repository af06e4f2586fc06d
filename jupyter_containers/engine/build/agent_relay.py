"""An SSH agent's socket for one step of a build, with the mode and owner it asked for, relayed to the agent."""

from __future__ import annotations

import os
import selectors
import socket
import threading
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

CHUNK: Final = 1 << 16
_EVERYBODY: Final = 0o666


class AgentRelay:
    """Listens in the directory ``place``, which is made, until it is closed; a context manager.

    Where this user cannot give the socket to others, everybody in the container may use it: nobody outside reaches it.
    """

    def __init__(self, agent: Path, place: Path, *, mode: int, uid: int, gid: int) -> None:
        place.mkdir(mode=0o711)
        self.path = place / "agent"
        self._agent = str(agent)
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX)
        directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._listener.bind(f"/proc/self/fd/{directory}/agent")  # paths of sockets are limited to 107 bytes
        finally:
            os.close(directory)
        if os.geteuid() == 0:
            os.chown(self.path, uid, gid)
        elif uid or gid:
            mode |= _EVERYBODY
        os.chmod(self.path, mode)
        self._listener.listen()
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._others: dict[socket.socket, socket.socket] = {}
        self._thread = threading.Thread(target=self._run, name="ssh agent", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wake.close()
        self._thread.join()

    def _run(self) -> None:
        with self._selector, self._listener, self._woken:
            while True:
                for key, _events in self._selector.select():
                    if key.fileobj is self._woken:
                        for end in list(self._others):
                            end.close()
                        return
                    if key.fileobj is self._listener:
                        self._connect()
                    elif isinstance(key.fileobj, socket.socket):
                        self._pass_on(key.fileobj)

    def _connect(self) -> None:
        client, _address = self._listener.accept()
        agent = socket.socket(socket.AF_UNIX)
        try:
            agent.connect(self._agent)
        except OSError:  # the agent is gone: so is the connection, as it would be without us
            agent.close()
            client.close()
            return
        for one, other in ((client, agent), (agent, client)):
            self._others[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _pass_on(self, end: socket.socket) -> None:
        """Requests and answers take turns and are small: a side that does not read holds up its own step only."""
        other = self._others.get(end)
        if other is None:
            return  # closed with its other end, in the same round
        try:
            data = end.recv(CHUNK)
            if data:
                other.sendall(data)
                return
        except OSError:
            pass  # one end is gone: the other goes as well
        for gone in (end, other):
            self._selector.unregister(gone)
            del self._others[gone]
            gone.close()
