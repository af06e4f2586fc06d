"""What is done with the files of containers: copied in and out, compared with the image, exported, made an image."""

from __future__ import annotations

import os
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, BinaryIO, Final, Literal

from jupyter_containers.engine.container.control import Control
from jupyter_containers.errors import ContainerNotRunning

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jupyter_containers.engine.files.browsing import Directory
    from jupyter_containers.engine.files.copying import Copied
    from jupyter_containers.engine.files.held_files import HeldFiles
    from jupyter_containers.engine.images import Image
    from jupyter_containers.engine.record import ContainerRecord
    from jupyter_containers.engine.views import FileChange
    from jupyter_containers.layers.sending import Told

_KINDS: Final[dict[str, Literal["added", "changed", "deleted"]]] = {"A": "added", "C": "changed", "D": "deleted"}


class ContainerFiles(Control):
    """See the module. What only these need is imported when one of them is first called."""

    def copy_from(
        self,
        name: str,
        path: str,
        target: str | os.PathLike[str] | BinaryIO,
        *,
        follow_link: bool = False,
        archive: bool = False,
        progress: Told | None = None,
    ) -> Copied | None:
        """Copy a file or a directory of a container, running or not, to the host.

        Parameters
        ----------
        path
            In the container, from its root. ``/.`` at its end means the content of a directory.
        target
            A path of the host, by Docker's rules; or an open file that gets a tar archive.
        follow_link
            Copy what a symbolic link leads to, not the link.
        archive
            Keep owners, set-user-id bits, extended attributes and devices, as far as this user may. Otherwise the copy
            belongs to this user.
        progress
            Told the bytes so far.

        Returns
        -------
        How much was copied, None for an archive.

        Raises
        ------
        NotFound, Conflict, InvalidInput, PermissionDenied, SystemFailure
            naming the path. A file appears whole or not at all.
        """
        from jupyter_containers.engine.files import copying, file_tree  # noqa: PLC0415 - see the class

        record = self.record(name)
        with file_tree.open_tree(self._parts, record) as tree:
            self._tell(record, "archive-path")
            if isinstance(target, str | os.PathLike):
                return copying.copy_out(tree, path, target, follow=follow_link, archive=archive, told=progress)
            copying.read_archive(tree, path, target, follow=follow_link, told=progress)
        return None

    def copy_to(
        self,
        name: str,
        source: str | os.PathLike[str] | BinaryIO,
        path: str,
        *,
        follow_link: bool = False,
        progress: Told | None = None,
    ) -> Copied | None:
        """Copy a file or a directory of the host into a container, running or not.

        Parameters
        ----------
        source
            A path of the host, whose owners are kept; or an open file with a tar archive, compressed or not, which is
            unpacked in the directory ``path``.
        path
            In the container, by Docker's rules.
        follow_link, progress
            As those of :meth:`copy_from`.

        Raises
        ------
        NotFound, Conflict, InvalidInput, PermissionDenied, SystemFailure
            naming the path. A file appears whole or not at all.
        """
        from jupyter_containers.engine.files import copying, file_tree  # noqa: PLC0415 - see the class

        record = self.record(name)
        with file_tree.open_tree(self._parts, record) as tree:
            self._tell(record, "extract-to-dir")
            if not isinstance(source, str | os.PathLike):
                copying.write_archive(tree, source, path)
                return None
            owners = copying.owners_in(self._parts.spawner.id_map if self._parts.host.rootless else None)
            return copying.copy_in(tree, source, path, follow=follow_link, owners=owners, told=progress)

    @contextmanager
    def files(self, name: str) -> Iterator[HeldFiles]:
        """The files of a container, running or not: one look at them for several things that are done with them."""
        from jupyter_containers.engine.files import file_tree, held_files  # noqa: PLC0415 - see the class

        with file_tree.open_tree(self._parts, self.record(name)) as tree:
            yield held_files.HeldFiles(tree, self._parts)

    def list_files(self, name: str, path: str = "/", *, skip: int = 0, limit: int = 1000) -> Directory:
        """What is in a directory of a container, running or not: at most ``limit`` names from ``skip`` on.

        Raises
        ------
        NotFound, Conflict, InvalidInput, PermissionDenied, SystemFailure
            naming the path.
        """
        from jupyter_containers.engine.files import browsing, file_tree  # noqa: PLC0415 - see the class

        with file_tree.open_tree(self._parts, self.record(name)) as tree:
            return browsing.listing(tree, path, skip=skip, limit=limit)

    def read_file(self, name: str, path: str, *, limit: int, partly: bool = False) -> bytes:
        """A file of a container, running or not, as bytes; parameters and errors as those of ``browsing.content``."""
        from jupyter_containers.engine.files import browsing, file_tree  # noqa: PLC0415 - see the class

        with file_tree.open_tree(self._parts, self.record(name)) as tree:
            return browsing.content(tree, path, limit=limit, partly=partly)

    def export(self, name: str, output: str | os.PathLike[str] | BinaryIO, *, progress: Told | None = None) -> None:
        """Write the file system of a container, running or not, as a tar archive, without what is mounted in it.

        A file of a path appears whole or not at all.
        """
        from jupyter_containers.engine.files import copying, file_tree  # noqa: PLC0415 - see the class
        from jupyter_containers.engine.small_files import opened  # noqa: PLC0415 - see the class

        record = self.record(name)
        with opened(output, "wb") as stream, file_tree.open_tree(self._parts, record, volumes=False) as tree:
            copying.read_archive(tree, "/", stream, follow=False, kind="export", told=progress)
        self._tell(record, "export")

    def diff(self, name: str) -> list[FileChange]:
        """What a container changed of its image's files, by path; what is mounted in it is no part of that."""
        from jupyter_containers.engine.files import committing  # noqa: PLC0415 - see the class
        from jupyter_containers.engine.views import FileChange  # noqa: PLC0415 - see the class

        found = committing.changes(self._parts, self.record(name))
        return [FileChange(_KINDS[change.kind], change.path) for change in found]

    def commit(
        self,
        name: str,
        repository: str | None = None,
        *,
        author: str | None = None,
        message: str | None = None,
        change: Sequence[str] = (),
        pause: bool = True,
    ) -> Image:
        """Make an image of a container: its own with one layer more, which holds what :meth:`diff` lists.

        Parameters
        ----------
        repository
            The name of the image; without one it is known by its id.
        change
            Instructions of a Dockerfile for how containers of it are started: ``CMD ["serve"]``, ``ENV A=1`` ...
        pause
            Let a running container stand still meanwhile. Otherwise a file that changes while it is read is an error.

        Raises
        ------
        InvalidInput, DockerfileError, InvalidReference, NotFound, Conflict
            before anything is made.
        """
        from jupyter_containers.engine.files import committing  # noqa: PLC0415 - see the class

        record = self.record(name)
        with self._still(record) if pause else nullcontext():
            made = committing.commit(
                self._parts, record, repository, author=author, message=message, given=tuple(change)
            )
        self._tell(record, "commit", comment=message or "", imageID=str(made.id), imageRef=repository or "")
        return made

    @contextmanager
    def _still(self, record: ContainerRecord) -> Iterator[None]:
        """Pause a container that runs."""
        if self._status(record).state != "running":
            yield
            return
        self.pause(record.id)
        try:
            yield
        finally:
            with suppress(ContainerNotRunning):  # it was killed meanwhile
                self.unpause(record.id)
