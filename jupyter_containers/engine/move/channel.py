"""What the two sides of a move say to each other: messages and streams of bytes over two pipes.

A frame is a letter, four bytes of length (big endian) and so many bytes: ``M`` a message (JSON), ``D`` a piece of a
stream, ``E`` its end. Whoever cannot go on says so in a message of the kind ``error``.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import struct
import subprocess
import sys
import tempfile
import threading
import urllib.parse
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import msgspec

from jupyter_containers import documents
from jupyter_containers.config import ROOT_VARIABLE
from jupyter_containers.errors import Conflict, EngineError, InvalidInput, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = "jupyter-container"
SSH_VARIABLE = "JUPYTER_CONTAINERS_SSH"
"""The program that is used for ssh, with its options."""
VERSION = 1
_RECEIVE = ("container", "receive")
_PATIENCE = 10.0
_HEADER = struct.Struct(">cI")
_LARGEST = 1 << 24
_PIECE = 1 << 18
_PIPE = 1 << 20


class Channel:
    """One side. Not thread-safe but for one stream that is read while its reader works."""

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO, *, other: str) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self.other = other

    # -- messages ----------------------------------------------------------------------------------------------------

    def send(self, kind: str, **fields: Any) -> None:
        """Send a message. Raises Unavailable when the other side is gone, or what it had to say."""
        self._put(b"M", msgspec.json.encode({"kind": kind, **fields}))
        self._flush()

    def receive(self, *kinds: str) -> dict[str, Any]:
        """The next message, which is of one of these kinds.

        Raises
        ------
        Conflict
            when the other side says that it cannot go on.
        Unavailable
            when it is gone.
        """
        letter, data = self._get()
        message: dict[str, Any] = documents.decode(data, dict[str, Any]) if letter == b"M" else {"kind": "?"}
        if message["kind"] == "error":
            raise Conflict(f"{self.other}: {message['message']}", hint=message["hint"])
        if message["kind"] not in kinds:
            raise Unavailable(f"{self.other} does not answer as this version expects", hint="use one version on both")
        return message

    def fail(self, error: EngineError) -> None:
        """Tell the other side why this one cannot go on."""
        with suppress(EngineError):
            self.send("error", message=error.message, hint=error.hint or "")

    # -- streams -----------------------------------------------------------------------------------------------------

    def write(self, data: bytes | memoryview) -> int:
        """Send a piece of a stream."""
        for begin in range(0, len(data), _PIECE):
            self._put(b"D", data[begin : begin + _PIECE])
        return len(data)

    def end(self) -> None:
        """End a stream."""
        self._put(b"E", b"")
        self._flush()

    def pieces(self) -> Iterator[bytes]:
        """The stream that comes next, to its end."""
        while True:
            letter, data = self._get()
            if letter == b"E":
                return
            if letter != b"D":
                raise Unavailable(f"{self.other} broke off")
            yield data

    @contextmanager
    def stream(self) -> Iterator[BinaryIO]:
        """The stream that comes next, as a file; what its reader leaves is passed over."""
        reading, writing = os.pipe()
        problems: list[BaseException] = []

        def pump() -> None:
            broken = False
            try:
                for piece in self.pieces():
                    data = memoryview(piece)
                    while data and not broken:
                        try:
                            data = data[os.write(writing, data) :]
                        except BrokenPipeError:
                            broken = True
            except EngineError as error:
                problems.append(error)
            finally:
                os.close(writing)

        thread = threading.Thread(target=pump, name="move", daemon=True)
        thread.start()
        try:
            with os.fdopen(reading, "rb", buffering=0) as file:
                yield cast("BinaryIO", file)
        finally:
            thread.join()
        if problems:
            raise problems[0]

    # -- frames ------------------------------------------------------------------------------------------------------

    def _put(self, letter: bytes, data: bytes | memoryview) -> None:
        try:
            self._outgoing.write(_HEADER.pack(letter, len(data)))
            self._outgoing.write(data)
        except (OSError, ValueError) as error:
            raise self._gone() from error

    def _flush(self) -> None:
        try:
            self._outgoing.flush()
        except (OSError, ValueError) as error:
            raise self._gone() from error

    def _gone(self) -> EngineError:
        """Why the other side does not listen: it may have said so before it went."""
        with suppress(Unavailable):
            while True:
                try:
                    self.receive()
                except Conflict as error:
                    return error
        return Unavailable(f"the connection to {self.other} broke off")

    def _get(self) -> tuple[bytes, bytes]:
        letter, length = _HEADER.unpack(self._exactly(_HEADER.size))
        if length > _LARGEST:
            raise Unavailable(f"{self.other} does not answer as this version expects")
        return letter, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        try:
            data = self._incoming.read(count)
        except (OSError, ValueError):
            data = b""
        if len(data) < count:
            raise Unavailable(f"the connection to {self.other} broke off")
        return data


def command_for(target: str, program: str = PROGRAM) -> tuple[list[str], dict[str, str]]:
    """The command that receives at a target, and variables for it.

    Raises
    ------
    InvalidInput
        for a target that is neither a directory nor ``ssh://[USER@]HOST[:PORT][/STORE]``.
    """
    if "://" not in target:
        if not os.path.isabs(target):
            raise InvalidInput(
                f"invalid target {target!r}", hint="give the absolute path of a store, or ssh://[USER@]HOST[:PORT]"
            )
        return [sys.executable, "-P", "-m", "jupyter_containers", *_RECEIVE], {ROOT_VARIABLE: target}
    parsed = urllib.parse.urlsplit(target)
    try:
        port = parsed.port
    except ValueError as error:
        raise InvalidInput(f"invalid target {target!r}: {error}") from error
    if parsed.scheme != "ssh" or not parsed.hostname or parsed.hostname.startswith("-") or parsed.password:
        raise InvalidInput(f"invalid target {target!r}", hint="write it as ssh://[USER@]HOST[:PORT][/STORE]")
    host = f"{parsed.username}@{parsed.hostname}" if parsed.username else parsed.hostname
    remote = shlex.join([*program.split(), *_RECEIVE])
    if parsed.path not in {"", "/"}:
        remote = f"{ROOT_VARIABLE}={shlex.quote(urllib.parse.unquote(parsed.path))} {remote}"
    ssh = shlex.split(os.environ.get(SSH_VARIABLE, "ssh"))
    return [*ssh, "-o", "BatchMode=yes", *(["-p", str(port)] if port else []), "--", host, remote], {}


@contextmanager
def connected(target: str, program: str = PROGRAM) -> Iterator[Channel]:
    """A connection to a target. What its command says on standard error is shown when it ends badly."""
    command, variables = command_for(target, program)
    pipe = subprocess.PIPE
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=errors, env={**os.environ, **variables}, start_new_session=True
            )
        except OSError as error:
            raise Unavailable(f"cannot reach {target}: {command[0]}: {error.strerror}") from error
        incoming, outgoing = cast("BinaryIO", process.stdout), cast("BinaryIO", process.stdin)
        with suppress(PermissionError):  # it has many such pipes already
            fcntl.fcntl(outgoing, fcntl.F_SETPIPE_SZ, _PIPE)
        try:
            yield Channel(incoming, outgoing, other=target)
        except Unavailable as error:
            _end(process)
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().rpartition("\n")[2]
            raise Unavailable(f"{error.message}{f' ({said})' if said else ''}", hint=error.hint) from error
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Close the pipes to it, upon which it ends, and wait for that."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):  # what was not yet sent cannot be
                pipe.close()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
