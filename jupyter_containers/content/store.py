"""The content store: immutable blobs, named by their sha256 digest.

The directory is an OCI image layout (image specification, image-layout.md), so that other tools read it::

    <root>/oci-layout  index.json  blobs/sha256/<hex>       the layout
    <root>/ingest/<random>                                  blobs that are being written, each locked by its writer
    <root>/lock                                             see :meth:`ContentStore.lock`

A blob appears under its name only whole, verified and synced; a process killed at any instant leaves a file in
``ingest`` at most, which :meth:`ContentStore.sweep` removes. Several processes may work on one store.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, Self, cast

from jupyter_containers.errors import (
    AlreadyExists,
    BlobNotFound,
    Corrupt,
    DigestMismatch,
    EngineError,
    InvalidInput,
    PermissionDenied,
    SystemFailure,
    size_text,
)
from jupyter_containers.oci.image_spec import OCI_INDEX, Descriptor, Index, encode
from jupyter_containers.oci.names import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from _typeshed import WriteableBuffer

READ_LIMIT = 8 << 20
"""What :meth:`ContentStore.read` returns at most by default, in bytes: a document, never a layer."""

_CHUNK = 1 << 20
_WRITEBACK = 32 << 20
_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


def _failure(error: OSError, doing: str) -> EngineError:
    """The typed error for a failed system call."""
    reason = f"{doing}: {error.strerror or error}"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return PermissionDenied(reason, hint="the content store belongs to another user or is read-only")
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return SystemFailure(reason, hint="free some space: remove images and build cache that are not needed")
    return SystemFailure(reason)


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class VerifiedReader(io.RawIOBase):
    """A blob that is checked while it is read: the read that meets the end raises when the digest is wrong."""

    def __init__(self, fd: int, digest: Digest) -> None:
        super().__init__()
        self._fd = fd
        self._digest = digest
        self._hash = hashlib.sha256()

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read into ``buffer``; raises DigestMismatch at the end of a blob that is damaged."""
        count = os.readv(self._fd, [buffer])
        if count:
            self._hash.update(memoryview(buffer).cast("B")[:count])
        elif (actual := self._hash.hexdigest()) != self._digest.hex:
            raise DigestMismatch(self._digest, f"sha256:{actual}")
        return count

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            os.close(self._fd)
        super().close()


class Ingest:
    """A blob that is being written.

    A context manager: what was not committed at its end is thrown away. Made by :meth:`ContentStore.ingest`; used by
    one thread.
    """

    def __init__(self, store: ContentStore, *, expected: Digest | None, size: int | None) -> None:
        self._store = store
        self._expected = expected
        self._expected_size = size
        self._hash = hashlib.sha256()
        self._size = 0
        self._started = 0
        self._fd, self._path = store._new_ingest()  # noqa: SLF001 - the store and its ingest are one unit

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abandon()

    def hashed(self) -> Digest:
        """The digest of what was written so far."""
        return Digest(f"sha256:{self._hash.hexdigest()}")

    @property
    def size(self) -> int:
        """The bytes written so far: where an interrupted download goes on."""
        return self._size

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append bytes.

        Raises
        ------
        DigestMismatch
            when more arrives than the announced size.
        SystemFailure, PermissionDenied
            when the disk does not take it.
        """
        if self._fd < 0:
            raise InvalidInput("the ingest is closed")
        view = memoryview(data)
        length = len(view)
        if self._expected_size is not None and self._size + length > self._expected_size:
            raise DigestMismatch(self._named(), f"more than the {self._expected_size} bytes announced")
        self._hash.update(view)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            raise _failure(error, f"writing {self._path}") from error
        self._size += length
        if self._size - self._started >= _WRITEBACK:
            # The kernel begins to write what is new, so that the commit finds little to wait for.
            os.posix_fadvise(self._fd, self._started, self._size - self._started, os.POSIX_FADV_DONTNEED)
            self._started = self._size
        return length

    def restart(self) -> None:
        """Forget what was written: the other side cannot continue where it was."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._hash = hashlib.sha256()
        self._size = self._started = 0

    def commit(self) -> Digest:
        """Verify, sync, and give the blob its name. A second ingest of the same content is harmless.

        Raises
        ------
        DigestMismatch
            when the content is not what was expected; nothing is stored.
        SystemFailure, PermissionDenied
            when the disk does not take it.
        """
        if self._fd < 0:
            raise InvalidInput("the ingest is closed")
        digest = self.hashed()
        if self._expected is not None and digest != self._expected:
            raise DigestMismatch(self._expected, digest)
        if self._expected_size is not None and self._size != self._expected_size:
            raise DigestMismatch(self._named(), f"{self._size} bytes, not the {self._expected_size} announced")
        if self._store.holds(digest, self._size):
            self.abandon()  # as when a build from scratch makes what is there: nothing has to reach the disk
            return digest
        target = self._store.path(digest)
        try:
            os.fsync(self._fd)
            os.rename(self._path, target)
            # Not before: a sweep must be able to open what is still an ingest.
            os.fchmod(self._fd, 0o444)
            _sync_directory(target.parent)
        except OSError as error:
            raise _failure(error, f"storing {digest}") from error
        fd, self._fd = self._fd, -1
        os.close(fd)
        return digest

    def abandon(self) -> None:
        """Throw away what was not committed. Idempotent."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with suppress(FileNotFoundError):
                os.unlink(self._path)
            os.close(fd)

    def _named(self) -> str:
        return self._expected or "blob"


class ContentStore:
    """Blobs by digest in the directory ``root``; see the module for its layout. Thread-safe and process-safe."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._blobs = root / "blobs" / "sha256"
        self._ingests = root / "ingest"

    def ensure(self) -> None:
        """Create what is missing. Idempotent; the root is private to its owner (0700).

        Raises
        ------
        SystemFailure, PermissionDenied
            when the directory cannot be made.
        """
        try:
            os.makedirs(self.root, mode=0o700, exist_ok=True)
            os.chmod(self.root, 0o700)
            os.makedirs(self._blobs, exist_ok=True)
            os.makedirs(self._ingests, exist_ok=True)
            for name, content in (("oci-layout", _LAYOUT), ("index.json", _index_bytes([]))):
                if not os.path.exists(self.root / name):
                    self._publish(name, content, replace=False)
        except OSError as error:
            raise _failure(error, f"creating the content store {self.root}") from error

    def path(self, digest: Digest) -> Path:
        """Where the blob is or would be."""
        return self._blobs / digest.hex

    def has(self, digest: Digest) -> bool:
        """Whether the blob is there."""
        return os.path.exists(self.path(digest))

    def size(self, digest: Digest) -> int:
        """Its size in bytes; raises BlobNotFound."""
        try:
            return os.stat(self.path(digest)).st_size
        except FileNotFoundError:
            raise _missing(digest) from None

    def open(self, digest: Digest) -> BinaryIO:
        """Open a blob; reading it to its end raises DigestMismatch when it is damaged. Raises BlobNotFound.

        The result cannot seek. ``path`` is for those who verify by other means.
        """
        try:
            fd = os.open(self.path(digest), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise _missing(digest) from None
        except OSError as error:
            raise _failure(error, f"opening {digest}") from error
        return cast("BinaryIO", io.BufferedReader(VerifiedReader(fd, digest), _CHUNK))

    def read(self, digest: Digest, *, limit: int = READ_LIMIT) -> bytes:
        """The verified bytes of a document.

        Raises
        ------
        BlobNotFound
            when it is not there.
        DigestMismatch
            when it is damaged.
        Corrupt
            when it has more than ``limit`` bytes.
        """
        if (size := self.size(digest)) > limit:
            raise Corrupt(f"{digest} has {size_text(size)}, too many for a document (limit {size_text(limit)})")
        with self.open(digest) as blob:
            return blob.read()

    def holds(self, digest: Digest, size: int) -> bool:
        """Whether the blob is there, has ``size`` bytes and is not damaged."""
        try:
            if os.stat(self.path(digest)).st_size != size:
                return False
            self.verify(digest)
        except (FileNotFoundError, BlobNotFound, DigestMismatch):
            return False
        return True

    def verify(self, digest: Digest) -> None:
        """Read the whole blob; raises DigestMismatch when it is damaged, BlobNotFound when it is not there."""
        with self.open(digest) as blob:
            while blob.read(_CHUNK):
                pass

    def ingest(self, *, expected: Digest | None = None, size: int | None = None) -> Ingest:
        """Begin to write a blob; ``expected`` and ``size`` (bytes) are checked by its commit."""
        return Ingest(self, expected=expected, size=size)

    def write(self, data: bytes) -> Digest:
        """Store a document and return its digest. Idempotent."""
        digest = Digest.of(data)
        if self.has(digest) and self.size(digest) == len(data):
            return digest
        with self.ingest(expected=digest, size=len(data)) as ingest:
            ingest.write(data)
            return ingest.commit()

    def remove(self, digest: Digest) -> bool:
        """Delete a blob and say whether it was there. Who has it open can still read it."""
        try:
            os.unlink(self.path(digest))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _failure(error, f"removing {digest}") from error
        return True

    def digests(self) -> Iterator[Digest]:
        """All blobs, in no order."""
        with os.scandir(self._blobs) as entries:
            for entry in entries:
                if len(entry.name) == 64:  # noqa: PLR2004 - hexadecimal digits of sha256
                    yield Digest(f"sha256:{entry.name}")

    def write_index(self, manifests: Sequence[Descriptor]) -> None:
        """Replace ``index.json``: the entry points other tools see, named by the annotation ref.name. Atomic."""
        try:
            self._publish("index.json", _index_bytes(list(manifests)), replace=True)
        except OSError as error:
            raise _failure(error, f"writing the index of {self.root}") from error

    @contextmanager
    def lock(self, *, exclusive: bool, wait: bool = True) -> Iterator[bool]:
        """Hold the store: shared while blobs are added that nothing refers to yet, exclusive to collect garbage.

        Yields whether it is held: always, unless it is not to ``wait``. Held by this process (flock), released by the
        kernel when the process dies. Not reentrant: a thread that holds it shared and asks for it exclusively waits
        for itself.
        """
        fd = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            how = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
            try:
                fcntl.flock(fd, how if wait else how | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(fd)

    def sweep(self) -> int:
        """Remove the ingests of processes that died and say how many there were."""
        removed = 0
        with os.scandir(self._ingests) as entries:
            names = [entry.name for entry in entries]
        for name in names:
            path = self._ingests / name
            try:
                fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)
                removed += 1
            except (BlockingIOError, FileNotFoundError):
                continue
            finally:
                os.close(fd)
        return removed

    def _new_ingest(self) -> tuple[int, Path]:
        """A new file, open and locked."""
        for _attempt in range(100):
            path = self._ingests / os.urandom(8).hex()
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                fcntl.flock(fd, fcntl.LOCK_EX)
            except OSError as error:
                raise _failure(error, f"writing in {self._ingests}") from error
            if os.fstat(fd).st_nlink:
                return fd, path
            # A sweep came between the two calls and took the file for that of a dead process.
            os.close(fd)
        raise AlreadyExists(f"no free name in {self._ingests}")

    def _publish(self, name: str, content: bytes, *, replace: bool) -> None:
        """Write a file of the layout: temporary name, sync, rename (or link, when it must not replace)."""
        fd, path = self._new_ingest()
        try:
            os.write(fd, content)
            os.fchmod(fd, 0o644)
            os.fsync(fd)
            if replace:
                os.rename(path, self.root / name)
            else:
                with suppress(FileExistsError):
                    os.link(path, self.root / name)
            _sync_directory(self.root)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(path)
            os.close(fd)


def _missing(digest: Digest) -> BlobNotFound:
    return BlobNotFound(f"blob {digest} is not in the content store", hint="pull or build the image again")


def _index_bytes(manifests: list[Descriptor]) -> bytes:
    return encode(Index(schema_version=2, media_type=OCI_INDEX, manifests=manifests))
