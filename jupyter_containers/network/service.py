"""The network agent as others see it: asked by a socket, started where it is not there."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Any

from jupyter_containers.errors import SystemFailure, Timeout
from jupyter_containers.network.program import command
from jupyter_containers.runtime import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SOCKET = "agent.sock"
_ATTEMPTS = 20
_PATIENCE = 30.0
_GONE = {errno.ENOENT, errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN}


class Service:
    """The agent of a store.

    Parameters
    ----------
    directory
        Its own, private to this user.
    rootless
        Whether the kernel's own forwarding is out of reach.
    start
        Runs a command where the agent is to live and returns its exit status.
    namespace
        The path of the network namespace in which containers run already, empty if there is none.
    """

    def __init__(
        self,
        directory: str,
        start: Callable[[Sequence[str]], int | None],
        *,
        rootless: bool,
        namespace: Callable[[], str] = str,
    ) -> None:
        self.directory = directory
        self.rootless = rootless
        self._start = start
        self._namespace = namespace

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send a message, to an agent that is started if there is none. The answer.

        Raises
        ------
        SystemFailure, Timeout
            There is no agent to be had.
        """
        answer, descriptors = self._ask(message)
        wire.close_all(descriptors)
        return answer

    def _ask(self, message: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        for _ in range(_ATTEMPTS):
            with self.open() as channel:
                answer, descriptors = self.exchange(channel, message)
            if answer is not None:
                return answer, descriptors
        raise SystemFailure("the network agent ends again and again", hint="'doctor' says what this host allows")

    def ask_running(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """The answer of the agent; None if it does not run."""
        channel = self._connect()
        if channel is None:
            return None
        with channel:
            answer, descriptors = self.exchange(channel, message)
        wire.close_all(descriptors)
        return answer

    def socket_of(self, pid: int) -> socket.socket:
        """A socket for messages of rtnetlink(7) in the network namespace of a container.

        Raises
        ------
        SystemFailure
            It has ended, or its namespace cannot be entered.
        """
        answer, descriptors = self._ask({"kind": "lend", "pid": pid})
        if answer["kind"] != "lent":
            raise SystemFailure(answer["detail"])
        return socket.socket(fileno=descriptors[0])

    def runs(self) -> bool:
        """Whether there is an agent."""
        channel = self._connect()
        if channel is not None:
            channel.close()
        return channel is not None

    def open(self) -> socket.socket:
        """A connection to the agent, which is started if there is none, and stays while it is open.

        Raises
        ------
        SystemFailure
            There is no agent to be had.
        """
        os.makedirs(self.directory, 0o700, exist_ok=True)
        for _ in range(_ATTEMPTS):
            channel = self._connect()
            if channel is not None:
                return channel
            mode = "rootless" if self.rootless else "root"
            if self._start(command("agent", self.directory, mode, self._namespace())) != 0:
                break
        raise SystemFailure("the network agent cannot be started", hint="'doctor' says what this host allows")

    def _connect(self) -> socket.socket | None:
        try:
            directory = os.open(self.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        channel.settimeout(_PATIENCE)
        try:
            # The path of a store may be longer than the address of a socket.
            channel.connect(f"/proc/self/fd/{directory}/{SOCKET}")
        except OSError as error:
            channel.close()
            if error.errno in _GONE:
                return None
            raise _unasked(error) from error
        finally:
            os.close(directory)
        return channel

    @staticmethod
    def exchange(channel: socket.socket, message: dict[str, Any]) -> tuple[dict[str, Any] | None, list[int]]:
        """Send a message by a connection; the answer and its descriptors, None where the agent has ended.

        Raises
        ------
        Timeout, SystemFailure
            It does not answer.
        """
        try:
            wire.send(channel, message)
            return wire.receive(channel)
        except TimeoutError:
            raise Timeout(f"the network agent did not answer within {_PATIENCE:.0f} s") from None
        except OSError as error:
            if error.errno in _GONE:
                return None, []
            raise _unasked(error) from error


def _unasked(error: OSError) -> SystemFailure:
    return SystemFailure(f"the network agent cannot be asked: {error.strerror}")
