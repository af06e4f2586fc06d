"""The worker process: does what ``LocalTrees`` does, for an engine that may not do it itself.

Started by ``trees.worker_argv`` inside the user namespace, with the standard library only (and isal and zstd where
the command line gives their place). Ends with the engine: when the control socket is closed.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final, cast

from jupyter_containers.errors import Cancelled, EngineError, SystemFailure
from jupyter_containers.layers import wire
from jupyter_containers.layers.failures import failure
from jupyter_containers.layers.trees import LocalTrees

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from jupyter_containers.layers.base import Progress

_INTERVAL: Final = 0.05


def main(descriptor: int) -> None:
    """Serve calls until the engine is gone."""
    control = socket.socket(fileno=descriptor)
    trees = LocalTrees()
    while True:
        data, descriptors, _flags, _address = socket.recv_fds(control, 1, 1, socket.MSG_CMSG_CLOEXEC)
        if not data:
            return
        for call in descriptors:
            sock = socket.socket(fileno=call)
            threading.Thread(target=_serve, args=(sock, trees), daemon=True).start()


def _serve(sock: socket.socket, trees: LocalTrees) -> None:
    """One call, in a thread of its own."""
    with sock:
        try:
            (name, arguments, watched), descriptors = wire.receive_with_descriptors(sock)
            reply: tuple[str, Any]
            try:
                progress = _reporter(sock) if watched or descriptors else None
                operation = _OPERATIONS[name]
                reply = ("done", wire.encode(operation(trees, wire.decode(arguments), descriptors, progress)))
            except EngineError as error:
                reply = ("error", wire.encode_error(error))
            except OSError as error:
                reply = ("error", wire.encode_error(failure(error, f"worker: {name}")))
            except Exception as error:  # noqa: BLE001 - an error of ours must reach the engine as one
                reply = ("error", wire.encode_error(SystemFailure(f"worker: {name}: {error!r}")))
            wire.send(sock, reply)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return  # the engine cancelled the call, or is gone


def _reporter(sock: socket.socket) -> Progress:
    """Sends progress now and then; raises Cancelled when nobody listens any more."""
    last = 0.0

    def report(value: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _INTERVAL:
            return
        last = now
        try:
            wire.send(sock, ("progress", value))
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Cancelled("cancelled by the engine") from error

    return report


class _Pipe:
    """The engine's end of an output."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes, /) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BrokenPipeError as error:
                raise Cancelled("cancelled by the engine") from error


def _apply(trees: LocalTrees, arguments: Any, descriptors: list[int], progress: Progress | None) -> object:
    target, options = arguments
    with open(descriptors[0], "rb", buffering=0) as blob:
        return trees.apply(cast("BinaryIO", blob), target, options, progress=progress)


def _diff(trees: LocalTrees, arguments: Any, descriptors: list[int], progress: Progress | None) -> object:
    upper, options = arguments
    try:
        return trees.diff(upper, _Pipe(descriptors[0]), options, progress=progress)
    finally:
        os.close(descriptors[0])


def _changes(trees: LocalTrees, arguments: Any, _descriptors: list[int], _progress: Progress | None) -> object:
    return trees.changes(*arguments)


def _pack(trees: LocalTrees, arguments: Any, descriptors: list[int], progress: Progress | None) -> object:
    items, timestamp, extract, earlier = arguments
    out = _Pipe(descriptors[0])
    try:
        return trees.pack(items, out, timestamp=timestamp, extract=extract, earlier=earlier, progress=progress)
    finally:
        os.close(descriptors[0])


def _walk(trees: LocalTrees, arguments: Any, _descriptors: list[int], _progress: Progress | None) -> object:
    dirs, path, follow, recursive, hashes = arguments
    return trees.walk(dirs, path, follow=follow, recursive=recursive, hashes=hashes)


def _parts(trees: LocalTrees, arguments: Any, _descriptors: list[int], _progress: Progress | None) -> object:
    return trees.parts(*arguments)


def _read(trees: LocalTrees, arguments: Any, _descriptors: list[int], _progress: Progress | None) -> object:
    dirs, path, limit = arguments
    return trees.read(dirs, path, limit=limit)


def _make(trees: LocalTrees, arguments: Any, _descriptors: list[int], _progress: Progress | None) -> None:
    trees.make(*arguments)


def _copy(trees: LocalTrees, arguments: Any, _descriptors: list[int], progress: Progress | None) -> object:
    dirs, target, path = arguments
    return trees.copy(dirs, target, path=path, progress=progress)


def _usage(trees: LocalTrees, arguments: Any, _descriptors: list[int], _progress: Progress | None) -> object:
    return trees.usage(*arguments)


def _remove(trees: LocalTrees, arguments: Any, _descriptors: list[int], _progress: Progress | None) -> None:
    trees.remove(*arguments)


_OPERATIONS: Final[dict[str, Callable[[LocalTrees, Any, list[int], Progress | None], object]]] = {
    "apply": _apply,
    "diff": _diff,
    "changes": _changes,
    "pack": _pack,
    "walk": _walk,
    "parts": _parts,
    "read": _read,
    "make": _make,
    "copy": _copy,
    "usage": _usage,
    "remove": _remove,
}
