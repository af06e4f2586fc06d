"""Who touches the files of images and containers: this process, or a worker inside the user namespace.

``LocalTrees`` calls the functions of this package. ``WorkerTrees`` has a worker call them: without root, files of
images belong to subordinate ids that only a process in the user namespace may read, change owners of, and delete::

    engine --(control: one descriptor a call)--> worker
    engine <--(a socket a call: request, progress..., result or error)--> a thread of the worker

A call is cancelled by closing its socket. A worker that died is a clear error; what it was making is swept later.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import select
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from jupyter_containers.errors import SystemFailure
from jupyter_containers.layers import wire
from jupyter_containers.layers.base import (
    Applied,
    ApplyOptions,
    Change,
    DiffOptions,
    Earlier,
    Item,
    Node,
    Progress,
    Sink,
    Trees,
    Usage,
    Written,
)
from jupyter_containers.layers.failures import failure
from jupyter_containers.layers.remove import remove_tree, usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["LocalTrees", "Trees", "WorkerTrees", "worker_argv"]

_PIPE_SIZE: Final = 1 << 20
_START: Final = (
    "import sys; sys.path[:0] = sys.argv[2:]; from jupyter_containers.layers.worker import main; main(int(sys.argv[1]))"
)


class LocalTrees:
    """Everything in this process: for root, and inside the worker.

    What reads, writes and compares layers is imported when it is first used: a container's start and end need only
    :meth:`make` and :meth:`remove`.
    """

    def apply(
        self, blob: BinaryIO, target: Path, options: ApplyOptions, *, progress: Progress | None = None
    ) -> Applied:
        """See :meth:`Trees.apply`."""
        from jupyter_containers.layers.apply import apply_layer  # noqa: PLC0415 - see above

        return apply_layer(blob, target, options=options, progress=progress)

    def diff(self, upper: Path, out: Sink, options: DiffOptions, *, progress: Progress | None = None) -> Written:
        """See :meth:`Trees.diff`."""
        from jupyter_containers.layers.diff import write_layer  # noqa: PLC0415 - see above

        return write_layer(upper, out, options=options, progress=progress)

    def changes(self, upper: Path, options: DiffOptions) -> list[Change]:
        """See :meth:`Trees.changes`."""
        from jupyter_containers.layers.changes import list_changes  # noqa: PLC0415 - see above

        return list_changes(upper, options)

    def pack(
        self,
        items: Iterable[Item],
        out: Sink,
        *,
        timestamp: int | None = None,
        extract: tuple[Path, ApplyOptions] | None = None,
        earlier: Earlier | None = None,
        progress: Progress | None = None,
    ) -> Written:
        """See :meth:`Trees.pack`."""
        if extract is not None:
            from jupyter_containers.layers.passage import write_and_apply  # noqa: PLC0415 - see above

            return write_and_apply(items, out, *extract, earlier=earlier, timestamp=timestamp, progress=progress)
        from jupyter_containers.layers.pack import write_items  # noqa: PLC0415 - see above

        return write_items(items, out, timestamp=timestamp, progress=progress)

    def walk(
        self, dirs: Sequence[Path], path: str, *, follow: bool = True, recursive: bool = True, hashes: bool = False
    ) -> list[Node]:
        """See :meth:`Trees.walk`."""
        from jupyter_containers.layers.view import LayerView  # noqa: PLC0415 - see above

        with LayerView(dirs) as view:
            if recursive:
                return list(view.walk(path, follow=follow, hashes=hashes))
            node = view.resolve(path, follow=follow)
            return [node, *(view.listdir(node.path) if node.kind == "dir" else ())]

    def parts(self, dirs: Sequence[Path], path: str) -> list[Path]:
        """See :meth:`Trees.parts`."""
        from jupyter_containers.layers.view import LayerView  # noqa: PLC0415 - see above

        with LayerView(dirs) as view:
            return [dirs[layer] / below for layer, below in view.parts(path)]

    def read(self, dirs: Sequence[Path], path: str, *, limit: int) -> bytes:
        """See :meth:`Trees.read`."""
        from jupyter_containers.layers.view import LayerView  # noqa: PLC0415 - see above

        with LayerView(dirs) as view:
            return view.read_bytes(path, limit=limit)

    def make(self, path: Path, like: Sequence[Path] = ()) -> None:
        """See :meth:`Trees.make`."""
        from jupyter_containers.layers.copying import make_directory  # noqa: PLC0415 - see above

        make_directory(path, like)

    def copy(self, dirs: Sequence[Path], target: Path, *, path: str = "", progress: Progress | None = None) -> Usage:
        """See :meth:`Trees.copy`."""
        from jupyter_containers.layers.copying import copy_view  # noqa: PLC0415 - see above

        return copy_view(dirs, target, path=path, progress=progress)

    def usage(self, path: Path) -> Usage:
        """See :meth:`Trees.usage`."""
        return usage(path)

    def remove(self, path: Path) -> None:
        """See :meth:`Trees.remove`."""
        remove_tree(path)


def worker_argv(control: int) -> list[str]:
    """The command line of a worker that inherits ``control``, one end of a stream socketpair."""
    roots = [str(Path(__file__).parents[2])]
    for name in ("isal", "backports.zstd"):
        with suppress(ModuleNotFoundError):
            spec = importlib.util.find_spec(name)
            if spec is not None and spec.origin is not None:
                root = str(Path(spec.origin).parents[name.count(".") + 1])
                roots += [root] if root not in roots else []
    return [sys.executable, "-I", "-S", "-c", _START, str(control), *roots]


class WorkerTrees:
    """Everything in a worker process, started elsewhere with :func:`worker_argv`.

    Parameters
    ----------
    start
        Starts a worker and returns the other end of its socketpair, which is taken over: called with the first call,
        and again when the worker has died since the last one. :meth:`close` ends the worker.
    """

    def __init__(self, start: Callable[[], socket.socket]) -> None:
        self._start = start
        self._control: socket.socket | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """End the worker, whatever it is doing. Idempotent."""
        with self._lock:
            if self._control is not None:
                self._control.close()
                self._control = None

    def _worker(self) -> socket.socket:
        """The control socket of a worker that lives."""
        if self._control is not None:
            poller = select.poll()
            poller.register(self._control, 0)
            if poller.poll(0):  # POLLHUP: its end was closed
                self._control.close()
                self._control = None
        if self._control is None:
            self._control = self._start()
        return self._control

    def apply(
        self, blob: BinaryIO, target: Path, options: ApplyOptions, *, progress: Progress | None = None
    ) -> Applied:
        """See :meth:`Trees.apply`."""
        try:
            descriptor = blob.fileno()
            if blob.seekable():
                # The worker reads from where the descriptor stands, which buffering may have moved.
                os.lseek(descriptor, blob.tell(), os.SEEK_SET)
        except OSError as error:
            raise failure(error, "passing a layer to the worker") from error
        result = self._call("apply", (target, options), [descriptor], progress=progress)
        assert isinstance(result, Applied)
        return result

    def diff(self, upper: Path, out: Sink, options: DiffOptions, *, progress: Progress | None = None) -> Written:
        """See :meth:`Trees.diff`."""
        return self._writing("diff", (upper, options), out, progress)

    def changes(self, upper: Path, options: DiffOptions) -> list[Change]:
        """See :meth:`Trees.changes`."""
        return cast("list[Change]", self._call("changes", (upper, options)))

    def pack(
        self,
        items: Iterable[Item],
        out: Sink,
        *,
        timestamp: int | None = None,
        extract: tuple[Path, ApplyOptions] | None = None,
        earlier: Earlier | None = None,
        progress: Progress | None = None,
    ) -> Written:
        """See :meth:`Trees.pack`."""
        return self._writing("pack", (list(items), timestamp, extract, earlier), out, progress)

    def walk(
        self, dirs: Sequence[Path], path: str, *, follow: bool = True, recursive: bool = True, hashes: bool = False
    ) -> list[Node]:
        """See :meth:`Trees.walk`."""
        return cast("list[Node]", self._call("walk", (tuple(dirs), path, follow, recursive, hashes)))

    def parts(self, dirs: Sequence[Path], path: str) -> list[Path]:
        """See :meth:`Trees.parts`."""
        return cast("list[Path]", self._call("parts", (tuple(dirs), path)))

    def read(self, dirs: Sequence[Path], path: str, *, limit: int) -> bytes:
        """See :meth:`Trees.read`."""
        return cast("bytes", self._call("read", (tuple(dirs), path, limit)))

    def make(self, path: Path, like: Sequence[Path] = ()) -> None:
        """See :meth:`Trees.make`."""
        self._call("make", (path, tuple(like)))

    def copy(self, dirs: Sequence[Path], target: Path, *, path: str = "", progress: Progress | None = None) -> Usage:
        """See :meth:`Trees.copy`."""
        return cast("Usage", self._call("copy", (tuple(dirs), target, path), progress=progress))

    def usage(self, path: Path) -> Usage:
        """See :meth:`Trees.usage`."""
        return cast("Usage", self._call("usage", (path,)))

    def remove(self, path: Path) -> None:
        """See :meth:`Trees.remove`."""
        self._call("remove", (path,))

    # -- calls -------------------------------------------------------------------------------------------------------

    def _writing(self, name: str, arguments: tuple[object, ...], out: Sink, progress: Progress | None) -> Written:
        """A call whose output comes through a pipe."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            with suppress(OSError):  # over the user's limit of pipe buffers: the usual 64 KiB stay
                fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
            result = self._call(
                name, arguments, [writing], progress=progress, sent=lambda: os.close(writing), out=(reading, out)
            )
        finally:
            os.close(reading)
        assert isinstance(result, Written)
        return result

    def _call(
        self,
        name: str,
        arguments: tuple[object, ...],
        descriptors: Sequence[int] = (),
        *,
        progress: Progress | None = None,
        sent: Callable[[], None] | None = None,
        out: tuple[int, Sink] | None = None,
    ) -> object:
        """One call: pass a socket to the worker, send the request over it, wait for the result.

        ``sent`` is called when the worker has the descriptors; ``out`` is a pipe it writes to and who wants that. A
        worker that died before it read the request (then the connection is reset, unix(7)) is replaced.
        """
        try:
            return self._once(name, arguments, descriptors, progress=progress, sent=sent, out=out)
        except SystemFailure as error:
            if sent is not None or not isinstance(error.__cause__, ConnectionResetError | BrokenPipeError):
                raise
        return self._once(name, arguments, descriptors, progress=progress, sent=sent, out=out)

    def _once(
        self,
        name: str,
        arguments: tuple[object, ...],
        descriptors: Sequence[int],
        *,
        progress: Progress | None,
        sent: Callable[[], None] | None,
        out: tuple[int, Sink] | None,
    ) -> object:
        mine, theirs = socket.socketpair()
        with mine:
            try:
                with theirs, self._lock:
                    socket.send_fds(self._worker(), [b"c"], [theirs.fileno()])
                wire.send(mine, (name, wire.encode(arguments), progress is not None), descriptors)
            except OSError as error:
                raise _dead() from error
            finally:
                if sent is not None:
                    sent()
            return _wait(mine, progress, out)


def _wait(mine: socket.socket, progress: Progress | None, out: tuple[int, Sink] | None) -> object:
    """Pass on progress and output until the result is there."""
    pipe = out[0] if out else -1
    poller = select.poll()
    poller.register(mine, select.POLLIN)
    if out:
        poller.register(pipe, select.POLLIN)
    while True:
        ready = [descriptor for descriptor, _events in poller.poll()]
        if out and pipe in ready:
            data = os.read(pipe, _PIPE_SIZE)
            if data:
                out[1].write(data)
                continue
            poller.unregister(pipe)
            out = None
        if mine.fileno() not in ready:
            continue
        try:
            kind, value = wire.receive(mine)
        except (EOFError, OSError) as error:
            raise _dead() from error
        if kind == "progress":
            if progress is not None:
                progress(value)
        elif kind == "error":
            raise wire.decode_error(value)
        else:
            while out and (data := os.read(pipe, _PIPE_SIZE)):
                out[1].write(data)
            return cast("object", wire.decode(value))


def _dead() -> SystemFailure:
    return SystemFailure(
        "the process that works on the files of containers has died",
        hint="run it again; if it repeats, look for the out-of-memory killer in the kernel's log",
    )
