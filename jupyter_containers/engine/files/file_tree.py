"""The file tree of a container, whether it runs or not: looked at, read and written by a process that enters it."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from jupyter_containers.engine import status
from jupyter_containers.engine.launch import creation, mountpoints
from jupyter_containers.engine.repair import recovery
from jupyter_containers.errors import Conflict, ContainerNotFound, SystemFailure
from jupyter_containers.layers import wire as errors_by_wire
from jupyter_containers.oci.names import Digest
from jupyter_containers.records import dataclass
from jupyter_containers.runtime import wire
from jupyter_containers.runtime.file_visitor import visitor_argv

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.engine.record import ContainerRecord
    from jupyter_containers.oci.runtime_spec import Mount

_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Found:
    """What is at a path: ``mode`` as stat(2) has it, ``target`` of a symbolic link."""

    mode: int
    size: int
    mtime: int
    target: str

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.mode)


class FileTree:
    """See the module. Not thread-safe; ``with open_tree(...)`` makes one. ``name`` is that of the container."""

    def __init__(self, channel: socket.socket, name: str) -> None:
        self._channel = channel
        self.name = name

    def ask(self, kind: str, descriptors: Sequence[int] = (), **message: Any) -> dict[str, Any]:
        """One request and its answer; raises what the visitor says."""
        self.tell(kind, descriptors, **message)
        return self.hear()

    def tell(self, kind: str, descriptors: Sequence[int] = (), **message: Any) -> None:
        """A request whose answer is heard later."""
        try:
            wire.send(self._channel, {"kind": kind, **message}, descriptors)
        except OSError as error:
            raise _dead() from error

    def hear(self) -> dict[str, Any]:
        """The answer to the last request."""
        answer, _ = wire.receive(self._channel)
        if answer is None:
            raise _dead()
        if answer["kind"] == "error":
            raise errors_by_wire.decode_error(answer["error"])
        return answer

    def find(self, path: str, *, follow: bool = False) -> Found | None:
        """What is at a path of the container, None where there is nothing."""
        answer = self.ask("stat", path=path, follow=follow)
        return Found(answer["mode"], answer["size"], answer["mtime"], answer["target"]) if answer["mode"] else None

    def read(self, use: Callable[[int], None], kind: str = "send", **message: Any) -> None:
        """Have an archive made of what is at a path, and ``use`` called with a descriptor to read it from."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        _enlarge(reading)
        try:
            try:
                self.tell(kind, [writing], **message)
            finally:
                os.close(writing)
            try:
                use(reading)
            except BaseException:
                os.close(reading)
                reading = -1
                self._explain()  # a visitor that failed is why the archive broke off
                raise
            self.hear()
        finally:
            if reading >= 0:
                os.close(reading)

    def write(self, make: Callable[[int], None], **message: Any) -> None:
        """Call ``make`` with a descriptor to write an archive to, and have it put into a directory."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        _enlarge(writing)
        try:
            try:
                self.tell("receive", [reading], **message)
            finally:
                os.close(reading)
            try:
                make(writing)
            except BrokenPipeError:
                pass  # the visitor has closed it, and says why
            finally:
                os.close(writing)
        except BaseException:
            self._explain()
            raise
        self.hear()

    def _explain(self) -> None:
        """Wait for the visitor to be done; its error, if it has one of its own, counts more than a broken pipe."""
        answer, _ = wire.receive(self._channel)
        if answer is not None and answer["kind"] == "error":
            error = errors_by_wire.decode_error(answer["error"])
            if type(error).__name__ != "LayerCorrupt":  # that is what an archive given up looks like
                raise error


def _dead() -> SystemFailure:
    return SystemFailure(
        "the process that works on the files of the container has died",
        hint="run it again; if it repeats, look for the out-of-memory killer in the kernel's log",
    )


def _enlarge(pipe: int) -> None:
    import fcntl  # noqa: PLC0415 - Linux only, and this module is imported elsewhere too

    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 1 << 20)
    except PermissionError:  # over the user's limit of pipe buffers: the usual 64 KiB stay
        return


@contextmanager
def open_tree(
    parts: Parts, record: ContainerRecord, *, volumes: bool = True, locked: bool = False
) -> Iterator[FileTree]:
    """The file tree of a container; one that does not run is kept from being started meanwhile.

    ``volumes``: what is mounted in it is to be there too; in a running one it always is. ``locked``: the caller is its
    owner and knows that it does not run, whatever its monitor has written of it so far.

    Raises
    ------
    NotFound, SystemFailure
        when something it mounts is gone, or the kernel refuses.
    """
    with ExitStack() as stack:
        if locked:
            yield _stopped(parts, record, stack, volumes=volumes)
            return
        now = status.read(parts.paths, record.id)
        pid = now.pid
        if not pid and now.running:
            raise Conflict(f"the container {record.name} is {now.state}", hint="wait until it runs, or stop it")
        if not pid:
            owner = stack.enter_context(recovery.Ownership(parts, record.id, patience=_PATIENCE))
            pid = status.read(parts.paths, record.id).pid
            if not pid and not owner.held:
                raise Conflict(
                    f"another process is busy with the container {record.name}", hint="try again when it is done"
                )
            if not pid and not parts.state.find_containers(record.id):
                raise ContainerNotFound(f"no such container: {record.name}", hint="it was removed meanwhile")
        if pid:
            yield _running(parts, record, pid, stack)
        else:
            yield _stopped(parts, record, stack, volumes=volumes)


def _running(parts: Parts, record: ContainerRecord, pid: int, stack: ExitStack) -> FileTree:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        raise Conflict(f"the container {record.name} has just ended", hint="run it again") from None
    stack.callback(os.close, pidfd)
    if status.read(parts.paths, record.id).pid != pid:  # only now does the pid stand for the process it stood for
        raise Conflict(f"the container {record.name} has just ended", hint="run it again")
    tree = FileTree(_spawn(stack), record.name)
    tree.ask("join", [pidfd], pid=pid)
    return tree


def _stopped(parts: Parts, record: ContainerRecord, stack: ExitStack, *, volumes: bool) -> FileTree:
    directory = parts.paths.containers / record.id
    if not directory.exists():
        directory.mkdir(mode=0o711)
    chains = [Digest(chain) for chain in record.chains]
    scratch = creation.writable(parts, chains, directory)
    creation.renew_work(parts, record)
    mounts: list[Mount] = mountpoints.make(parts, record, mapped=False) if volumes else []
    near = _spawn_inside(parts, stack) if parts.host.rootless else _spawn(stack)
    tree = FileTree(near, record.name)
    tree.ask(
        "mount",
        mountpoint=str(parts.paths.mountpoint),
        rootfs=parts.snapshotter.mounts(chains, scratch),
        mounts=mounts,
        read_only=record.options.read_only,
    )
    return tree


@contextmanager
def open_directory(parts: Parts, directory: str, name: str) -> Iterator[FileTree]:
    """A directory of the store as a file tree by itself: the data of a volume."""
    with ExitStack() as stack:
        near = _spawn_inside(parts, stack) if parts.host.rootless else _spawn(stack)
        tree = FileTree(near, name)
        tree.ask("enter", directory=directory)
        yield tree


def _spawn_inside(parts: Parts, stack: ExitStack) -> socket.socket:
    """A visitor in the user namespace of an ordinary user's containers; it ends when its socket is closed."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stack.enter_context(near)
    with far:
        worker = parts.spawner.start_worker(visitor_argv(3), {3: far.fileno()})
    stack.callback(worker.close)
    stack.callback(worker.wait, _PATIENCE)
    stack.callback(near.close)
    return near


def _spawn(stack: ExitStack) -> socket.socket:
    """A visitor in the namespaces of this process; it ends when its socket is closed."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with far:
        process = subprocess.Popen(
            visitor_argv(far.fileno()),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[far.fileno()],
            start_new_session=True,
            cwd="/",
        )
    stack.callback(_await, process)
    stack.enter_context(near)
    return near


def _await(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:  # it hangs in the kernel, on a dead file server for one
        process.kill()
        threading.Thread(target=process.wait, daemon=True).start()
