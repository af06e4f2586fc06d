"""A process in the file tree of a container that looks at, reads and writes files there for the engine.

It joins the mount namespace of a running container, or mounts the file tree of a stopped one in a mount namespace of
its own, which goes with it. What it reads and writes goes as a tar archive through a pipe::

    engine --(one socket: request, answer, request, ...)--> visitor
           <--(a pipe with a request: an archive)---------->

Every path is looked up by openat2(2) with RESOLVE_IN_ROOT. Before it enters it gives up importing: no code of a
container's may run here (the class of CVE-2019-14271). It is undumpable, so a container that sees it cannot get at it.
"""

from __future__ import annotations

import os
import socket
import stat
import sys
from typing import TYPE_CHECKING, Any, Final

from jupyter_containers.errors import EngineError, InvalidInput, NotFound, PermissionDenied, SystemFailure
from jupyter_containers.layers.failures import failure
from jupyter_containers.layers.receiving import Target, receive_tree
from jupyter_containers.layers.sending import send_file, send_tree
from jupyter_containers.layers.wire import encode_error
from jupyter_containers.linux import mount as mounting
from jupyter_containers.linux import syscalls
from jupyter_containers.runtime import credentials, rootfs
from jupyter_containers.runtime.wire import close_all, receive, send

if TYPE_CHECKING:
    from collections.abc import Callable

_EAGAIN, _ENOENT, _ENOTDIR = 11, 2, 20
_TRIES: Final = 50
_PIECE: Final = 1 << 16
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
_BOOTSTRAP: Final = """\
import sys
from types import ModuleType
package = ModuleType("jupyter_containers")
package.__path__ = [sys.argv[1]]
sys.modules["jupyter_containers"] = package
from jupyter_containers.runtime.file_visitor import main
main(int(sys.argv[2]))
"""


def visitor_argv(channel: int) -> list[str]:
    """The command line of a visitor that inherits ``channel``, one end of a socketpair of packets."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return [sys.executable, "-I", "-S", "-c", _BOOTSTRAP, package, str(channel)]


def main(descriptor: int) -> None:
    """Serve requests until the engine closes the socket."""
    os.umask(0)
    channel = socket.socket(fileno=descriptor)
    visitor = Visitor()
    while True:
        message, descriptors = receive(channel)
        if message is None:
            return
        try:
            answer = visitor.do(message, descriptors)
        except EngineError as error:
            answer = {"kind": "error", "error": encode_error(error)}
        except BrokenPipeError:
            answer = {"kind": "left"}  # the engine has closed the pipe, and knows why
        except OSError as error:
            answer = {"kind": "error", "error": encode_error(failure(error, message["kind"]))}
        except Exception as error:  # noqa: BLE001 - an error of ours must reach the engine as one
            answer = {"kind": "error", "error": encode_error(SystemFailure(f"visitor: {error!r}"))}
        finally:
            close_all(descriptors)
        try:
            send(channel, answer)
        except BrokenPipeError:
            return


class Visitor:
    """See the module; ``root`` is a descriptor of the container's root once it has entered."""

    def __init__(self) -> None:
        self._root = -1

    def do(self, message: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        """One request."""
        handlers: dict[str, Callable[[dict[str, Any], list[int]], dict[str, Any] | None]] = {
            "join": self._join,
            "mount": self._mount,
            "enter": self._enter,
            "stat": self._stat,
            "list": self._list,
            "content": self._content,
            "send": self._send,
            "export": self._export,
            "receive": self._receive,
        }
        return {"kind": "done", **(handlers[message["kind"]](message, descriptors) or {})}

    # -- entering ----------------------------------------------------------------------------------------------------

    def _join(self, message: dict[str, Any], descriptors: list[int]) -> None:
        """The mount namespace of the process of a pidfd, and its user namespace where that is another one."""
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        own, theirs = os.readlink("/proc/self/ns/user"), os.readlink(f"/proc/{message['pid']}/ns/user")
        flags = syscalls.CLONE_NEWNS | (syscalls.CLONE_NEWUSER if own != theirs else 0)
        _import_no_more()
        syscalls.setns(descriptors[0], flags)
        credentials.be_somebody()
        self._root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def _mount(self, message: dict[str, Any], _descriptors: list[int]) -> None:
        """The file tree of a container that does not run."""
        syscalls.unshare(syscalls.CLONE_NEWNS)
        mounting.mount(None, b"/", None, mounting.MS_SLAVE | mounting.MS_REC)
        try:
            tree = rootfs.assemble(os.fsencode(message["mountpoint"]), message["rootfs"])
            for mount in message["mounts"]:
                tree.mount(mount)
        except rootfs.MountError as error:
            raise (NotFound if error.errno == _ENOENT else SystemFailure)(str(error)) from error
        if message["read_only"]:
            mounting.set_attributes(tree.descriptor, mounting.MOUNT_ATTR_RDONLY)
        self._root = tree.descriptor
        _import_no_more()

    def _enter(self, message: dict[str, Any], _descriptors: list[int]) -> None:
        """A directory of the host that is a file tree by itself: the data of a volume."""
        self._root = os.open(message["directory"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        _import_no_more()

    # -- looking -----------------------------------------------------------------------------------------------------

    def _open(self, path: str, flags: int) -> int:
        encoded = os.fsencode(path) or b"."
        for _ in range(_TRIES):
            try:
                return syscalls.openat2(self._root, encoded, flags, resolve=syscalls.RESOLVE_IN_ROOT)
            except OSError as error:
                if error.errno == _ENOTDIR:
                    raise InvalidInput(f"{path}: something on the way is not a directory") from error
                if error.errno != _EAGAIN:  # something was renamed during the walk, openat2(2)
                    raise failure(error, path) from error
        raise SystemFailure(f"{path}: the file tree keeps changing")

    def _stat(self, message: dict[str, Any], _descriptors: list[int]) -> dict[str, Any]:
        """What is at a path; a mode of 0 where there is nothing."""
        try:
            opened = self._open(message["path"], os.O_PATH | (0 if message["follow"] else os.O_NOFOLLOW))
        except NotFound:
            return {"mode": 0}
        try:
            found = os.fstat(opened)
            link = os.readlink(b"", dir_fd=opened) if stat.S_ISLNK(found.st_mode) else b""
        finally:
            os.close(opened)
        return {"mode": found.st_mode, "size": found.st_size, "mtime": found.st_mtime_ns, "target": os.fsdecode(link)}

    def _list(self, message: dict[str, Any], _descriptors: list[int]) -> dict[str, Any]:
        """What is in a directory, at most ``limit`` names from ``skip`` on, in the order of their bytes."""
        opened = self._open(message["path"], os.O_RDONLY | os.O_DIRECTORY)
        try:
            names = sorted(os.fsencode(name) for name in os.listdir(opened))
            chosen = names[message["skip"] : message["skip"] + message["limit"]]
            rows = [row for name in chosen if (row := _row(opened, name)) is not None]
        finally:
            os.close(opened)
        return {"total": len(names), "rows": rows}

    def _content(self, message: dict[str, Any], descriptors: list[int]) -> None:
        """The first bytes of a regular file, as they are."""
        path, left = message["path"], message["limit"]
        place = self._open(path, os.O_PATH)
        try:
            if not stat.S_ISREG(os.fstat(place).st_mode):
                raise InvalidInput(f"{path} is not a regular file")
        finally:
            os.close(place)
        opened = self._open(path, _READ)
        try:
            while left > 0 and (data := os.read(opened, min(left, _PIECE))):
                left -= len(data)
                while data:
                    data = data[os.write(descriptors[0], data) :]
        finally:
            os.close(opened)

    # -- reading and writing -----------------------------------------------------------------------------------------

    def _send(self, message: dict[str, Any], descriptors: list[int]) -> None:
        """What is at a path, as an archive."""
        path, top = message["path"], os.fsencode(message["top"])
        above, _, name = path.rpartition("/")
        if message["follow"] or name in {"", ".", ".."}:
            self._send_opened(path, top, descriptors[0])
            return
        parent = self._open(above or "/", os.O_PATH | os.O_DIRECTORY)
        try:
            send_tree(parent, os.fsencode(name), descriptors[0], top=top)
        finally:
            os.close(parent)

    def _send_opened(self, path: str, top: bytes, out: int) -> None:
        place = self._open(path, os.O_PATH)
        try:
            mode = os.fstat(place).st_mode
        finally:
            os.close(place)
        if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
            raise InvalidInput(f"{path}: what it leads to is neither a file nor a directory")
        opened = self._open(path, _READ)
        try:
            if stat.S_ISDIR(mode):
                send_tree(opened, b".", out, top=top)
            else:
                send_file(opened, out, name=top)
        finally:
            os.close(opened)

    def _export(self, _message: dict[str, Any], descriptors: list[int]) -> None:
        """The root file system without what is mounted in it."""
        alone = mounting.open_tree(self._root, b"")
        try:
            send_tree(alone, b".", descriptors[0], top=b"")
        finally:
            os.close(alone)

    def _receive(self, message: dict[str, Any], descriptors: list[int]) -> None:
        """An archive, into a directory."""
        into = message["path"]
        os.close(self._open(into, os.O_PATH | os.O_DIRECTORY))
        try:
            receive_tree(descriptors[0], Target(self._root, os.fsencode(into), contained=True, owners=True))
        except PermissionDenied as error:
            if os.statvfs(self._root).f_flag & os.ST_RDONLY:
                raise PermissionDenied(f"{error.message}: the container's root file system is read-only") from error
            raise


def _row(directory: int, name: bytes) -> tuple[str, int, int, int, str] | None:
    """A name in a directory with mode, size, modification time and where a link leads; None when it is just gone."""
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        link = os.readlink(name, dir_fd=directory) if stat.S_ISLNK(found.st_mode) else b""
    except FileNotFoundError:
        return None
    return os.fsdecode(name), found.st_mode, found.st_size, found.st_mtime_ns, os.fsdecode(link)


def _import_no_more() -> None:
    """What is not loaded by now is never loaded: a path may soon lead into a container."""
    sys.path.clear()
    sys.meta_path.clear()
