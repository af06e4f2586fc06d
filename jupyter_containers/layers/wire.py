"""Values and errors as bytes, for the worker process: frames of marshal, nothing but a closed set of types.

A frame is its length (4 bytes, little endian) and a marshalled value. Instances of the dataclasses in ``base``, paths
and sets are tuples whose first element names the type. A long list travels as deflated parts: as it is it would take
several times its memory on both sides.
"""

from __future__ import annotations

import marshal
import socket
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jupyter_containers import errors
from jupyter_containers.errors import DigestMismatch, EngineError, SystemFailure
from jupyter_containers.layers import base
from jupyter_containers.oci.names import Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_FDS: Final = 3
_LENGTH: Final = struct.Struct("<I")
_PART: Final = 500
"""Elements of a list from which on it travels in parts, of as many."""

_VALUES: Final[dict[str, type]] = {
    kind.__name__: kind
    for kind in (
        base.Applied,
        base.ApplyOptions,
        base.Change,
        base.DiffOptions,
        base.Earlier,
        base.Item,
        base.Node,
        base.Usage,
        base.ViewSource,
        base.Written,
    )
}

_TEXTS: Final[dict[str, Callable[[str], object]]] = {"digest": Digest, "path": Path}
_SEQUENCES: Final[dict[str, Callable[[list[Any]], object]]] = {"list": list, "tuple": tuple, "set": frozenset}


def encode(value: Any) -> Any:
    """The value as what marshal takes. Raises TypeError for a type that is not in the set."""
    coded: Any
    if isinstance(value, Digest):
        coded = ("digest", str.__str__(value))
    elif value is None or isinstance(value, bool | int | bytes | str):
        coded = value
    elif isinstance(value, Path):
        coded = ("path", str(value))
    elif isinstance(value, list) and len(value) > _PART:
        coded = ("parts", [_part(value[at : at + _PART]) for at in range(0, len(value), _PART)])
    elif isinstance(value, list | tuple):
        coded = ("tuple" if isinstance(value, tuple) else "list", [encode(item) for item in value])
    elif isinstance(value, frozenset):
        coded = ("set", [encode(item) for item in sorted(value)])
    elif isinstance(value, dict):
        coded = {key: encode(item) for key, item in value.items()}
    elif type(value).__name__ in _VALUES:
        coded = (type(value).__name__, [encode(getattr(value, name)) for name in value.__match_args__])
    else:
        raise TypeError(f"{type(value)} does not travel")
    return coded


def _part(items: list[Any]) -> bytes:
    return zlib.compress(marshal.dumps([encode(item) for item in items]), 1)


def decode(data: Any) -> Any:
    """What :func:`encode` was given; the parts of a long list are taken out of ``data``."""
    if isinstance(data, dict):
        return {key: decode(item) for key, item in data.items()}
    if not isinstance(data, tuple):
        return data
    kind, content = data
    if isinstance(content, str):
        return _TEXTS[kind](content)
    if kind == "parts":
        content.reverse()
        whole: list[Any] = []
        while content:
            part = marshal.loads(zlib.decompress(content.pop()))  # noqa: S302 - from our own process
            whole += [decode(item) for item in part]
        return whole
    items = [decode(item) for item in content]
    return _VALUES[kind](*items) if kind in _VALUES else _SEQUENCES[kind](items)


def encode_error(error: EngineError) -> dict[str, str | None]:
    """A typed error; one with arguments of its own, except DigestMismatch, travels as the kind above it."""
    if isinstance(error, DigestMismatch):
        what = error.message.split(" ", 1)[0]
        return {"kind": "DigestMismatch", "expected": str(error.expected), "actual": str(error.actual), "what": what}
    kind = type(error)
    while kind.__init__ is not EngineError.__init__ or not hasattr(errors, kind.__name__):
        kind = kind.__mro__[1]
    return {"kind": kind.__name__, "message": error.message, "hint": error.hint}


def decode_error(data: dict[str, str | None]) -> EngineError:
    """The error to raise on this side."""
    if data["kind"] == "DigestMismatch":
        return DigestMismatch(str(data["expected"]), str(data["actual"]), what=str(data["what"]))
    kind = getattr(errors, str(data["kind"]), SystemFailure)
    assert issubclass(kind, EngineError)
    return kind(str(data["message"]), hint=data["hint"])


def send(sock: socket.socket, value: Any, descriptors: Iterable[int] = ()) -> None:
    """Send a frame and descriptors with it. Raises OSError."""
    data = marshal.dumps(value)
    head = _LENGTH.pack(len(data))
    sent = socket.send_fds(sock, [head, data], list(descriptors))
    for piece in (head, data):
        if sent < len(piece):  # not with nothing left: the other side may have answered and gone by now
            sock.sendall(memoryview(piece)[sent:])
        sent = max(0, sent - len(piece))


def receive(sock: socket.socket) -> Any:
    """The next frame's value. Raises EOFError when the other side is gone, OSError."""
    return marshal.loads(_exactly(sock, _LENGTH.unpack(_exactly(sock, _LENGTH.size))[0]))  # noqa: S302 - from our own process


def receive_with_descriptors(sock: socket.socket) -> tuple[Any, list[int]]:
    """The next frame's value and the descriptors that came with it. Raises EOFError, OSError."""
    head, descriptors, _flags, _address = socket.recv_fds(sock, _LENGTH.size, MAX_FDS, socket.MSG_CMSG_CLOEXEC)
    if not head:
        raise EOFError
    head += _exactly(sock, _LENGTH.size - len(head))
    return marshal.loads(_exactly(sock, _LENGTH.unpack(head)[0])), descriptors  # noqa: S302 - from our own process


def _exactly(sock: socket.socket, count: int) -> bytearray:
    data = bytearray(count)
    left = memoryview(data)
    while left:
        received = sock.recv_into(left)
        if not received:
            raise EOFError
        left = left[received:]
    return data
