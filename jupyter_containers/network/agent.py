"""The network agent: one small process a store, which serves names and ports to the containers that need that.

It is started by the first container in a network of the user's, or with a published port, and ends when none runs any
more. No kernel of a notebook is needed for it; whoever needs it and does not find it starts it anew and tells it of the
containers that run (``service.py``).

For each container it keeps a pidfd of its monitor, and all it has for the container goes when that ends: a socket that
is kept open would keep the container's network namespace.

For an ordinary user it also has the network namespace that the containers share (``holder.py``), connects to them by
sockets of that, and lends such sockets to engines. Without that process it ends too: the next agent has another one.

Messages on ``agent.sock`` are those of ``runtime/wire.py``: ``serve``, ``list``, ``lend``, ``write``; each gets one
answer.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import socket
from time import monotonic
from typing import TYPE_CHECKING, Any

from jupyter_containers.errors import EngineError
from jupyter_containers.linux import namespaces, syscalls
from jupyter_containers.network import firewall, inside
from jupyter_containers.network.holder import Holder
from jupyter_containers.network.loop import READ, Loop
from jupyter_containers.network.published import PortError, Published
from jupyter_containers.network.resolver import Names, Resolver
from jupyter_containers.runtime import wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_containers.network.forwarder import Connect
    from jupyter_containers.network.published import Place

SOCKET, LOCK = "agent.sock", "agent.lock"
_IDLE = 0.3  # seconds without a container or a connection, after which it ends
_UNASKED = 60.0  # seconds without a container and without a question, after which connections do not keep it
_QUEUE = 256


class Served:
    """What one container has."""

    def __init__(self, pidfd: int, monitor: int, start_time: int, ports: Published) -> None:
        self.pidfd = pidfd
        self.monitor = monitor
        self.start_time = start_time
        self.resolver: Resolver | None = None
        self.ports = ports
        self.kernel = False
        self.stays = False

    @property
    def needed(self) -> bool:
        """Whether there is anything it is here for."""
        return self.stays or self.resolver is not None or self.ports.any


class Agent:
    """See the module."""

    def __init__(self, listener: socket.socket, holder: Holder | None) -> None:
        self._loop = Loop()
        self._listener = listener
        self._holder = holder
        self._connect: Connect = holder.socket if holder else _direct
        self._names = Names()
        self._containers: dict[str, Served] = {}
        self._channels: dict[int, socket.socket] = {}
        self._done = False
        self._asked = monotonic()

    def run(self) -> None:
        """Until no container needs it."""
        self._loop.watch(self._listener.fileno(), READ, self._accept)
        if self._holder:
            self._loop.watch(self._holder.channel.fileno(), READ, self._holder_ended)
        self._loop.after(_IDLE, self._leave_if_idle)
        self._loop.after(_UNASKED, self._leave_if_unasked)
        while not self._done:
            self._loop.turn()

    def _holder_ended(self, _events: int) -> None:
        self._done = True

    def _leave_if_idle(self) -> None:
        if not self._containers and not self._channels:
            self._done = True

    def _leave_if_unasked(self) -> None:
        """An engine keeps its connection, for the next container starts faster then."""
        if not self._containers and monotonic() - self._asked >= _UNASKED:
            self._done = True
        self._loop.after(_UNASKED / 2, self._leave_if_unasked)

    def _accept(self, _events: int) -> None:
        try:
            channel, _ = self._listener.accept()
        except OSError:
            return
        descriptor = channel.fileno()
        self._channels[descriptor] = channel
        self._loop.watch(descriptor, READ, lambda _events: self._request(descriptor))

    def _request(self, descriptor: int) -> None:
        channel = self._channels[descriptor]
        message, descriptors = wire.receive(channel)
        wire.close_all(descriptors)
        self._asked = monotonic()
        lent: list[int] = []
        if message is None:
            self._loop.forget(descriptor)
            self._channels.pop(descriptor).close()
            self._loop.after(_IDLE, self._leave_if_idle)
            return
        try:
            match message["kind"]:
                case "serve":
                    answer = self._serve(message)
                case "list":
                    answer = self._list()
                case _:
                    answer, lent = self._lend(message)
        except PortError as refused:
            answer = {"kind": "failed", "errno": refused.code, "detail": "", "port": refused.port}
        except OSError as error:
            answer = {"kind": "failed", "errno": error.errno or 0, "detail": error.strerror or str(error)}
        except EngineError as error:
            answer = {"kind": "failed", "errno": 0, "detail": error.message}
        try:
            wire.send(channel, answer, lent)
        except OSError:
            return  # whoever asked is gone
        finally:
            wire.close_all(lent)

    def _lend(self, message: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        """A socket in the namespace of a container; or what the process in the shared one makes of a request."""
        if "pid" in message:
            sockets = inside.open_inside(message["pid"], inside.kernel)
            return {"kind": "lent"}, [sock.detach() for sock in sockets]
        assert self._holder is not None
        descriptors = self._holder.ask({**message, "kind": "write" if message["kind"] == "write" else "sockets"})
        return {"kind": "lent", "holder": self._holder.pid}, descriptors

    def _list(self) -> dict[str, Any]:
        return {
            "kind": "list",
            "holder": self._holder.pid if self._holder else 0,
            "containers": {key: [each.monitor, each.start_time] for key, each in self._containers.items()},
        }

    # -- a container -------------------------------------------------------------------------------------------------

    def _serve(self, message: dict[str, Any]) -> dict[str, Any]:
        """Give a container what it is to have from now on: its names and its ports."""
        identity = message["id"]
        known = self._containers.get(identity)
        if known and (known.monitor, known.start_time) != (message["monitor"], message["start_time"]):
            self._drop(identity)
            known = None
        if known is None:
            known = self._adopt(identity, message["monitor"], message["start_time"])
        known.stays = self._holder is not None
        try:
            self._set_names(identity, known, message)
            ports = self._set_ports(identity, known, message)
        except BaseException:
            if not known.needed:
                self._drop(identity)
            raise
        if not known.needed:
            self._drop(identity)
        return {"kind": "served", "ports": ports}

    def _adopt(self, identity: str, monitor: int, start_time: int) -> Served:
        pidfd = os.pidfd_open(monitor)
        if namespaces.start_time(monitor) != start_time:
            os.close(pidfd)
            raise ProcessLookupError(errno.ESRCH, "the container has ended")
        served = self._containers[identity] = Served(pidfd, monitor, start_time, Published(self._loop, self._connect))
        self._loop.watch(pidfd, READ, lambda _events: self._drop(identity))
        return served

    def _drop(self, identity: str) -> None:
        served = self._containers.pop(identity)
        self._loop.forget(served.pidfd)
        os.close(served.pidfd)
        self._names.drop(identity)
        if served.resolver:
            served.resolver.close()
        served.ports.close()
        if served.kernel:
            firewall.unpublish(identity)
        self._loop.after(_IDLE, self._leave_if_idle)

    def _set_names(self, identity: str, served: Served, message: dict[str, Any]) -> None:
        places = message["places"]
        if not places:
            self._names.drop(identity)
            return
        self._names.set(identity, places)
        if served.resolver is None:
            sockets = inside.open_inside(message["pid"], inside.name_server)
            served.resolver = Resolver(self._loop, self._names, identity, sockets, message["servers"])
        served.resolver.servers = message["servers"]

    def _set_ports(self, identity: str, served: Served, message: dict[str, Any]) -> list[Place]:
        """What each wanted port is bound to."""
        addresses = message["addresses"]
        wanted = [tuple(each) for each in message["ports"]]
        return served.ports.set(wanted, addresses, lambda bound: self._to_kernel(identity, served, bound, addresses))

    def _to_kernel(self, identity: str, served: Served, bound: Sequence[Place], addresses: list[str]) -> None:
        """What the kernel can forward itself it does."""
        if self._holder or (not bound and not served.kernel):
            return
        rules = [
            (protocol, host, number, address, target)
            for protocol, host, number, target in bound
            for address in addresses
            if (":" in host) == (":" in address) and not firewall.is_loopback(host)
        ]
        if rules or served.kernel:
            firewall.publish(identity, rules)
            served.kernel = bool(rules)


# -- the process -----------------------------------------------------------------------------------------------------


def _direct(family: int, kind: int) -> socket.socket:
    return socket.socket(family, kind | socket.SOCK_CLOEXEC)


def _become_daemon() -> int:
    """Go on as a process of nobody's; the parent waits for a byte on the pipe and ends. The pipe's writing end."""
    reading, writing = os.pipe()
    if os.fork():  # noqa: TID251 - a small process of its own with one thread
        os.close(writing)
        os._exit(0 if os.read(reading, 1) else 1)
    os.close(reading)
    os.setsid()
    os.set_inheritable(writing, False)
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    os.close(null)
    return writing


def main(directory: str, mode: str, namespace: str) -> int:
    """Serve the store whose network directory this is, if nobody does already; ``mode`` is ``root`` or ``rootless``.

    ``namespace``: the path of the network namespace that the user's containers are in already, if they are.
    """
    ready = _become_daemon()
    syscalls.prctl(syscalls.PR_SET_NAME, b"jc-network")
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.chdir(directory)
    os.umask(0o077)
    lock = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.write(ready, b"1")  # another one is there, or about to be
        return 0
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    if os.path.lexists(SOCKET):
        os.unlink(SOCKET)
    listener.bind(SOCKET)
    listener.listen(_QUEUE)
    os.chdir("/")
    holder = Holder(namespace) if mode == "rootless" else None
    os.write(ready, b"1")
    os.close(ready)
    Agent(listener, holder).run()
    # The name goes before the lock does, so that nobody takes the socket of the next one for a dead one's.
    os.unlink(os.path.join(directory, SOCKET))
    return 0
