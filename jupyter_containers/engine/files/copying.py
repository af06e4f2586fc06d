"""``cp``: between the host and a container, by the rules of Docker's.

What the copy is called and where it goes depends on what there is at the destination, see :func:`place`. On the host a
copy belongs to whoever copies, unless owners are to be kept; in a container it has the owners of its source, with the
user's own id as the container's root where the container has ids of its own.
"""

from __future__ import annotations

import os
import posixpath
import stat
from typing import TYPE_CHECKING, BinaryIO

from jupyter_containers.engine.files.file_tree import FileTree, Found
from jupyter_containers.errors import Conflict, InvalidInput, NotFound, size_text
from jupyter_containers.layers.failures import failure
from jupyter_containers.layers.receiving import Target, receive_tree
from jupyter_containers.layers.sending import send_file, send_tree
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_containers.layers.sending import Owners, Told
    from jupyter_containers.runtime.idmap import IdMap

_PIECE = 1 << 20
_MOST_LINKS = 40


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied: bytes of files."""

    size: int

    def __str__(self) -> str:
        """As a message has it."""
        return size_text(self.size)


def place(name: str, *, directory: bool, path: str, there: Found | None, where: str) -> tuple[str, str]:
    """The directory a copy goes to, and its name there; empty where the content goes there by itself.

    Parameters
    ----------
    name
        What the source is called; empty for the content of a directory (``SOURCE/.``).
    directory
        Whether the source is one.
    path, there
        The destination, and what is there.
    where
        Whose path it is, for messages.

    Raises
    ------
    Conflict, NotFound
        Docker's: a directory cannot be copied to a file, a directory that the path asks for must be there.
    """
    if there is not None and there.is_directory:
        return path, name
    above, base = posixpath.split(path.rstrip("/") or "/")
    above = above or "."
    asks = path.endswith(("/", "/."))
    if there is not None:
        if directory:
            raise Conflict(f"cannot copy directory to {where}: a file is there", hint="name another destination")
        if asks:
            raise Conflict(f"{where} is not a directory", hint="leave out the slash at its end")
        return above, base
    if asks and not directory:
        raise NotFound(f"destination directory {where} does not exist", hint="make it first")
    if base in {".", ".."}:
        raise NotFound(f"{where} does not exist")
    return above, base


def base_name(path: str) -> str:
    """What a copy of a source is called: the last part of its path, empty where only its content is meant."""
    if path.rstrip("/") in {"", "."} or path.endswith("/."):
        return ""
    name = posixpath.basename(path.rstrip("/"))
    return "" if name in {".", ".."} else name


# -- out of a container ----------------------------------------------------------------------------------------------


def copy_out(
    tree: FileTree, path: str, target: str | os.PathLike[str], *, follow: bool, archive: bool, told: Told | None = None
) -> Copied:
    """From a container to a path of the host."""
    source, path = _source(tree, path, follow=follow)
    text = _resolved(os.path.expanduser(os.fspath(target)))
    there = _host(text)
    above, name = place(base_name(path), directory=source.is_directory, path=text, there=there, where=text)
    root = _open_directory(above)
    size = 0
    try:

        def take(pipe: int) -> None:
            nonlocal size
            size = receive_tree(pipe, Target(root, owners=archive), told=told)

        tree.read(take, path=path, follow=follow, top=name)
    finally:
        os.close(root)
    return Copied(size)


def read_archive(
    tree: FileTree, path: str, output: BinaryIO, *, follow: bool, kind: str = "send", told: Told | None = None
) -> None:
    """From a container to an open file, as a tar archive whose entries begin with the name of the source."""
    if kind == "send":
        _found, path = _source(tree, path, follow=follow)

    def take(pipe: int) -> None:
        total = 0
        while data := os.read(pipe, _PIECE):
            output.write(data)
            total += len(data)
            if told is not None:
                told(total)

    tree.read(take, kind, path=path, follow=follow, top=base_name(path) or ".")


def _source(tree: FileTree, path: str, *, follow: bool) -> tuple[Found, str]:
    """What is to be copied, and its absolute path; a slash or ``/.`` at its end follows a link."""
    path = absolute(path)
    found = tree.find(path, follow=follow or path.endswith(("/", "/.")))
    if found is None:
        raise NotFound(f"could not find the file {path} in container {tree.name}")
    return found, path


def absolute(path: str) -> str:
    """A path of a container from its root, cleaned as Docker does it; a slash or ``/.`` at its end stays."""
    cleaned = posixpath.normpath(f"/{path}").replace("//", "/")
    if path.endswith("/.") or path == ".":
        return f"{cleaned.rstrip('/')}/."
    return f"{cleaned}/" if path.endswith("/") and cleaned != "/" else cleaned


def _resolved(path: str) -> str:
    """A path of the host with the symbolic link at its end followed, also one that leads nowhere yet."""
    for _ in range(_MOST_LINKS):
        if not os.path.islink(path):
            return path
        path = os.path.join(os.path.dirname(path), os.readlink(path))
    raise InvalidInput(f"{path}: too many symbolic links")


def _host(path: str) -> Found | None:
    """What is at a path of the host, links followed."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise Conflict(f"{path} is not a directory", hint="leave out the slash at its end") from None
    except OSError as error:
        raise failure(error, path) from error
    return Found(found.st_mode, found.st_size, found.st_mtime_ns, "")


def _open_directory(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f"the directory {path} does not exist", hint="make it first") from None
    except NotADirectoryError:
        raise Conflict(f"{path} is not a directory") from None
    except OSError as error:
        raise failure(error, path) from error


# -- into a container ------------------------------------------------------------------------------------------------


def copy_in(
    tree: FileTree,
    source: str | os.PathLike[str],
    path: str,
    *,
    follow: bool,
    owners: Owners | None = None,
    told: Told | None = None,
) -> Copied:
    """From a path of the host to a container."""
    text = os.path.expanduser(os.fspath(source))
    mode = _host_source(text, follow=follow or text.endswith(("/", "/.")))
    name = "" if text == "." or text.endswith("/.") else os.path.basename(os.path.abspath(text))
    path, there = _destination(tree, path)
    above, top = place(name, directory=stat.S_ISDIR(mode), path=path, there=there, where=path)
    size = 0

    def count(sent: int) -> None:
        nonlocal size
        size = sent
        if told is not None:
            told(sent)

    tree.write(lambda pipe: _send_host(text, pipe, top, owners, count, follow=follow), path=above)
    return Copied(size)


def _host_source(text: str, *, follow: bool) -> int:
    try:
        return (os.stat if follow else os.lstat)(text).st_mode
    except FileNotFoundError:
        raise NotFound(f"the source {text} does not exist") from None
    except OSError as error:
        raise failure(error, text) from error


def _send_host(text: str, pipe: int, top: str, owners: Owners | None, told: Told, *, follow: bool) -> None:
    above, name = os.path.split(text.rstrip("/") or "/")
    whole = text.endswith(("/", "/.")) or name in {"", ".", ".."}
    if whole or (follow and os.path.isdir(text)):
        parent, name = _open_directory(text), "."
    elif follow:
        with open(text, "rb", buffering=0) as opened:
            send_file(opened.fileno(), pipe, name=os.fsencode(top), owners=owners, told=told)
        return
    else:
        parent = _open_directory(above or ".")
    try:
        send_tree(parent, os.fsencode(name), pipe, top=os.fsencode(top), owners=owners, told=told)
    finally:
        os.close(parent)


def write_archive(tree: FileTree, archive: BinaryIO, path: str) -> None:
    """From an open file with a tar archive, compressed or not, to a directory of a container."""
    path, there = _destination(tree, path)
    if there is None or not there.is_directory:
        raise InvalidInput(f"destination {path} must be a directory", hint="an archive is unpacked in a directory")
    from jupyter_containers.layers.compression import decompressor  # noqa: PLC0415 - only for archives

    def give(pipe: int) -> None:
        stream = decompressor(archive)
        while data := stream.read(_PIECE):
            view = memoryview(data)
            while view:
                view = view[os.write(pipe, view) :]

    tree.write(give, path=path)


def _destination(tree: FileTree, path: str) -> tuple[str, Found | None]:
    """Where a path of a container leads to: through symbolic links at its end, also one that leads nowhere yet."""
    path = absolute(path)
    for _ in range(_MOST_LINKS):
        found = tree.find(path)
        if found is None or not stat.S_ISLNK(found.mode):
            return path, found
        path = absolute(posixpath.join(posixpath.dirname(path.rstrip("/")), found.target))
    raise InvalidInput(f"{path}: too many symbolic links")


def owners_in(id_map: IdMap | None) -> Owners | None:
    """What the owners of the host's files are in a container: itself for root, else what the map makes of them.

    The user's own id is the container's root, and so is every id that a container cannot have.
    """
    if id_map is None or id_map.kind == "host":
        return None

    def inside(ranges: tuple[tuple[int, int, int], ...]) -> Callable[[int], int]:
        def convert(number: int) -> int:
            for within, outside, count in ranges:
                if outside <= number < outside + count:
                    return within + number - outside
            return 0

        return convert

    uid, gid = inside(id_map.uids), inside(id_map.gids)
    return lambda user, group: (uid(user), gid(group))
