"""The process in the network namespace that the containers of an ordinary user share. It lends sockets of it.

A socket belongs to the namespace it was made in, whoever has it: with lent ones the network agent, which is in the
host's namespace, connects to containers, and an engine makes bridges and rules by messages to the kernel. It is a
child of the agent's and ends with it; the namespace lasts as long as the monitor of a container is in it.

Messages are those of ``runtime/wire.py``: ``sockets`` (family, kind, protocol of each), ``write`` (a file below
``/proc/sys/net`` and its text). Source: network_namespaces(7).
"""

from __future__ import annotations

import errno
import os
import signal
import socket
from typing import TYPE_CHECKING, Any

from jupyter_containers.linux import namespaces, netlink, syscalls
from jupyter_containers.runtime import wire

if TYPE_CHECKING:
    from collections.abc import Sequence

_STOCK = 8  # sockets that are fetched at once


class Holder:
    """The process as its parent sees it, which starts it: in the namespace at ``path``, or in a new one.

    Raises :exc:`OSError` where there can be none.

    Attributes
    ----------
    pid
        Of the process.
    channel
        Becomes readable when it has ended.
    """

    def __init__(self, path: str) -> None:
        self.channel, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._stock: dict[tuple[int, int], list[int]] = {}
        self.pid = os.fork()  # noqa: TID251 - a small process of its own with one thread
        if self.pid == 0:
            _live(path, far)
        far.close()
        self._take()

    def ask(self, message: dict[str, Any]) -> list[int]:
        """Have something done; the descriptors that come of it. Raises :exc:`OSError`."""
        try:
            wire.send(self.channel, message)
        except OSError as error:
            raise _gone() from error
        return self._take()

    def _take(self) -> list[int]:
        answer, descriptors = wire.receive(self.channel)
        if answer is None:
            raise _gone()
        if answer["errno"]:
            raise OSError(answer["errno"], os.strerror(answer["errno"]))
        return descriptors

    def socket(self, family: int, kind: int) -> socket.socket:
        """A socket in the namespace; several are fetched at once, since each connection needs one."""
        stock = self._stock.setdefault((family, kind), [])
        if not stock:
            stock += self.ask({"kind": "sockets", "sockets": [(int(family), int(kind), 0)] * _STOCK})
        return socket.socket(family, kind, 0, fileno=stock.pop())


def _gone() -> OSError:
    return OSError(errno.ESRCH, "the process that holds the network of the containers has ended")


def _live(path: str, channel: socket.socket) -> None:
    """The process: enter the namespace, and serve until the parent is gone. Does not come back."""
    try:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        syscalls.prctl(syscalls.PR_SET_NAME, b"jc-netns")
        syscalls.close_except([channel.fileno()])
        try:
            _enter(path)
        except OSError as error:
            wire.send(channel, {"errno": error.errno or errno.EIO})
            return
        wire.send(channel, {"errno": 0})
        while True:
            message, _ = wire.receive(channel)
            if message is None:
                return
            _answer(channel, message)
    finally:
        os._exit(0)


def _enter(path: str) -> None:
    if path:
        namespaces.enter_network(path)
        return
    syscalls.unshare(syscalls.CLONE_NEWNET)
    netlink.transact([netlink.loopback_up()])


def _answer(channel: socket.socket, message: dict[str, Any]) -> None:
    made: list[socket.socket] = []
    try:
        if message["kind"] == "write":
            _write(message["path"], message["text"])
        else:
            made = _make(message["sockets"])
        wire.send(channel, {"errno": 0}, [each.fileno() for each in made])
    except OSError as error:
        wire.send(channel, {"errno": error.errno or errno.EIO})
    finally:
        for each in made:
            each.close()


def _make(wanted: Sequence[tuple[int, int, int]]) -> list[socket.socket]:
    made: list[socket.socket] = []
    try:
        for family, kind, protocol in wanted:
            made.append(socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol))
    except OSError:
        for each in made:
            each.close()
        raise
    return made


def _write(path: str, text: str) -> None:
    descriptor = os.open(os.path.join("/proc/sys/net", path), os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
