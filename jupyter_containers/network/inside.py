"""Sockets that are made in the network namespace of a container and used from here. For a process with one thread.

A child makes them: this process could not always come back from there.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

from jupyter_containers.linux import namespaces, netlink
from jupyter_containers.network.resolver import ADDRESS, PORT
from jupyter_containers.runtime import wire

if TYPE_CHECKING:
    from collections.abc import Callable

_QUEUE = 256


def open_inside(pid: int, make: Callable[[], list[socket.socket]]) -> list[socket.socket]:
    """The sockets that a function makes in the network namespace of a process. Raises :exc:`OSError`."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()  # noqa: TID251 - a small process of its own with one thread
    if child == 0:
        try:
            namespaces.enter_network(f"/proc/{pid}/ns/net")
            sockets = make()
            wire.send(far, {"errno": 0}, [sock.fileno() for sock in sockets])
        except OSError as error:
            wire.send(far, {"errno": error.errno or errno.EIO})
        finally:
            os._exit(0)
    far.close()
    with near:
        message, descriptors = wire.receive(near)
    os.waitpid(child, 0)
    if message is None or message["errno"]:
        code = message["errno"] if message else errno.EIO
        raise OSError(code, f"the network of the container cannot be entered: {os.strerror(code)}")
    return [socket.socket(fileno=descriptor) for descriptor in descriptors]


def name_server() -> list[socket.socket]:
    """Those of a name server: UDP and TCP."""
    # The container's init may not have come to it. What is bound without it answers from another address.
    netlink.transact([netlink.loopback_up()])
    sockets = [socket.socket(socket.AF_INET, kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)]
    for sock in sockets:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((ADDRESS, PORT))
    sockets[1].listen(_QUEUE)
    return sockets


def kernel() -> list[socket.socket]:
    """One for messages that change interfaces, addresses and routes: rtnetlink(7)."""
    return [socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)]
