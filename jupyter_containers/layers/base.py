"""The values of this package, and the Protocol of what is done to the files of images and containers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol, TypeAlias

from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from jupyter_containers.oci.names import Digest

Progress: TypeAlias = Callable[[int], None]
"""Told how many bytes are done, now and then; what it raises ends the operation and goes on to the caller."""

NodeKind: TypeAlias = Literal["file", "dir", "symlink", "link", "char", "block", "fifo", "socket"]


class Sink(Protocol):
    """Where bytes go: a file, an :class:`~jupyter_containers.content.store.Ingest`, a socket's file."""

    def write(self, data: bytes, /) -> object:
        """Take all of ``data``."""
        ...


class HashingSink(Protocol):
    """A :class:`Sink` that hashes what it takes, so that who writes need not."""

    def write(self, data: bytes, /) -> object:
        """Take all of ``data``."""
        ...

    def hashed(self) -> Digest:
        """The digest of what was written so far."""
        ...


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """How a layer is extracted.

    Parameters
    ----------
    lowers
        The layers below, top first: a parent directory the archive does not list gets the attributes it has there,
        a hard link may point there, and only what is there is whited out. None: not known.
    expected
        The diff id the archive must have; None: any.
    max_bytes, max_entries
        Limits against archives made to fill the disk; None: none.
    whiteouts
        Names that begin with ``.wh.`` mark deletions; False: the archive is no layer, and they are names.
    """

    lowers: tuple[Path, ...] | None = None
    expected: Digest | None = None
    max_bytes: int | None = None
    max_entries: int | None = None
    whiteouts: bool = True


@dataclass(frozen=True, slots=True)
class Applied:
    """What an extraction did.

    ``diff_id`` and ``size`` are those of the uncompressed archive; ``content_bytes`` the sum of the sizes of the
    files; ``unrecorded`` counts attributes (owners, devices, extended attributes) that this user can neither set nor
    record; ``opaque_root`` says that the layer hides all layers below it.
    """

    diff_id: Digest
    size: int
    entries: int
    content_bytes: int
    unrecorded: int
    opaque_root: bool


@dataclass(frozen=True, slots=True)
class DiffOptions:
    """How an upper directory becomes a layer.

    Parameters
    ----------
    lowers
        The layers below, top first.
    timestamp
        No modification time in the archive is later than this (seconds since the epoch); None: as they are.
    exclude
        Paths (relative to the root) of mount points the runtime created: left out when they are still empty.
    normalize
        Also change the directory so that it is what an extraction of the archive would give: modification times,
        no excluded paths, no sockets, no directories without a change. For a directory that becomes a layer.
    compare
        The directory is a whole file system, not overlay's upper directory: what equals the lowers is left out, what
        it lacks becomes a whiteout.
    root
        Also list the root directory when nothing in it differs from the lowers', or there are none.
    """

    lowers: tuple[Path, ...] = ()
    timestamp: int | None = None
    exclude: frozenset[str] = frozenset()
    normalize: bool = False
    compare: bool = False
    root: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """A layer archive that was written: digest (of the plain tar, also its diff id), bytes, entries, bytes of files."""

    digest: Digest
    size: int
    entries: int
    content_bytes: int


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a path since the layers below: ``A`` added, ``C`` changed, ``D`` removed."""

    kind: str
    path: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What a tree takes: the sum of the sizes of its files in bytes, hard links once, and the number of its entries."""

    bytes: int
    entries: int


@dataclass(slots=True)  # one that is frozen takes three times as long to make, and there are many
class Node:
    """One name in a merged view.

    ``path`` is relative to the view's root (``""`` is the root itself), ``mode`` the permission bits, ``mtime`` in
    nanoseconds, ``target`` that of a symbolic link, ``layer`` the index of the directory it is from (0 is the top),
    ``sha256`` the content's, hexadecimal, when it was asked for, ``inode`` tells which names of a file with several are
    the same file (device and inode; zeros for one with a single name).
    """

    path: str
    kind: NodeKind
    mode: int
    uid: int
    gid: int
    size: int = 0
    mtime: int = 0
    target: str = ""
    device: tuple[int, int] = (0, 0)
    layer: int = 0
    sha256: str = ""
    inode: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Earlier:
    """A layer that was made before, of which much may come again: its plain archive, and where it is extracted."""

    blob: Path
    directory: Path


@dataclass(frozen=True, slots=True)
class ViewSource:
    """The content of an item: a file in a merged view of layer directories, top first."""

    dirs: tuple[Path, ...]
    path: str


@dataclass(slots=True)  # one that is frozen takes three times as long to make, and there are many
class Item:
    """One entry of a layer that is made from a list.

    Parameters
    ----------
    name
        The path in the layer, relative, without ``..``; ``""`` is the root directory.
    kind
        ``link`` is a hard link to the item named ``target``.
    source
        For a file: its bytes, a path on the host (never followed when it is a symbolic link), or a file in a view.
    mtime
        Seconds since the epoch.
    xattrs
        Extended attributes; those of a file in a view are taken from there as well.
    sha256
        The digest of a file's content, hexadecimal, where it is known: to find it in an :class:`Earlier` layer.
    """

    name: str
    kind: NodeKind = "file"
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    source: bytes | str | Path | ViewSource = b""
    target: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: dict[str, bytes] | None = None
    sha256: str = ""


class Trees(Protocol):
    """Everything that is done to files of images and containers, by whoever may do it.

    Paths are absolute. Every method blocks, may be called from several threads at once, and raises the typed errors
    of :mod:`jupyter_containers.errors`: NotFound, PermissionDenied, SystemFailure for what the kernel refuses, those
    of its own where they are named. ``progress`` is called in the calling thread.
    """

    def apply(
        self, blob: BinaryIO, target: Path, options: ApplyOptions, *, progress: Progress | None = None
    ) -> Applied:
        """Extract a layer, compressed or not, to the new directory ``target``; see ``apply.apply_layer``.

        ``blob`` is an open file with a descriptor, read from where its descriptor stands. ``progress`` gets bytes of
        the blob. Raises LayerCorrupt, DigestMismatch.
        """
        ...

    def diff(self, upper: Path, out: Sink, options: DiffOptions, *, progress: Progress | None = None) -> Written:
        """Write the layer that ``upper`` holds; see ``diff.write_layer``. ``progress`` gets bytes of the archive."""
        ...

    def changes(self, upper: Path, options: DiffOptions) -> list[Change]:
        """What ``upper`` changes, by path; see ``changes.list_changes``."""
        ...

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
        """Write a layer from a list; see ``pack.write_items``. ``extract``: to there, at the same time.

        What an ``earlier`` layer has as well is taken from there, and its extracted files get a second name.
        """
        ...

    def walk(
        self, dirs: Sequence[Path], path: str, *, follow: bool = True, recursive: bool = True, hashes: bool = False
    ) -> list[Node]:
        """The node at ``path`` in the merged view of ``dirs`` (top first) and, sorted, what is below it.

        ``follow``: whether ``path`` itself is followed when it is a symbolic link; links on the way always are, inside
        the view. ``hashes`` fills ``sha256`` of files. Raises NotFound when there is none.
        """
        ...

    def parts(self, dirs: Sequence[Path], path: str) -> list[Path]:
        """The file, or the directories, top first, that the merged view shows at ``path``; raises NotFound."""
        ...

    def read(self, dirs: Sequence[Path], path: str, *, limit: int) -> bytes:
        """The content of a file in the merged view; raises NotFound, InvalidInput (no file, or over ``limit``)."""
        ...

    def make(self, path: Path, like: Sequence[Path] = ()) -> None:
        """Create a directory with the attributes of the root of the merged view ``like``, else 0755 of root."""
        ...

    def copy(self, dirs: Sequence[Path], target: Path, *, path: str = "", progress: Progress | None = None) -> Usage:
        """Copy the merged view, or the directory ``path`` in it, to the new directory ``target``.

        ``progress`` gets bytes. Raises NotFound where there is no ``path``.
        """
        ...

    def usage(self, path: Path) -> Usage:
        """Measure a tree."""
        ...

    def remove(self, path: Path) -> None:
        """Delete a file or a tree, whatever its modes. Never follows links. Idempotent."""
        ...
