"""``engine.volumes``: everything about volumes."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal

import msgspec

from jupyter_containers import documents
from jupyter_containers.engine import status, supervision
from jupyter_containers.engine.launch import mounts
from jupyter_containers.engine.options import split_pairs
from jupyter_containers.engine.record import change, new_id
from jupyter_containers.engine.small_files import opened
from jupyter_containers.engine.views import FileChange, PruneReport, VolumeSummary
from jupyter_containers.errors import (
    Conflict,
    Corrupt,
    InvalidInput,
    NameInUse,
    NotFound,
    Unsupported,
    VolumeNotFound,
)
from jupyter_containers.layers.base import DiffOptions
from jupyter_containers.monitor import journal
from jupyter_containers.records import dataclass
from jupyter_containers.state import VolumeRow

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from jupyter_containers.engine.files.browsing import Directory
    from jupyter_containers.engine.files.file_tree import FileTree
    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.engine.record import ContainerRecord
    from jupyter_containers.layers.base import Progress
    from jupyter_containers.volumes import Draft

_OPTIONS = frozenset({"type", "device", "o"})
_KINDS: Final[dict[str, Literal["added", "changed", "deleted"]]] = {"A": "added", "C": "changed", "D": "deleted"}
SNAPSHOT_LABEL = "jupyter-containers.snapshot"
"""The label of a snapshot: the name of the volume it is of."""


class VolumeRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is kept of a volume. ``options`` are the driver's: type, device, o."""

    labels: dict[str, str] = {}
    options: dict[str, str] = {}
    anonymous: bool = False


def decode(row: VolumeRow) -> VolumeRecord:
    """The record of a row; raises Corrupt."""
    try:
        return documents.decode(row.record, VolumeRecord)
    except msgspec.DecodeError as error:
        raise Corrupt(f"the record of the volume {row.name} is damaged: {error}") from error


def new_row(identity: str, name: str, record: VolumeRecord) -> VolumeRow:
    """The row of a volume that is made now."""
    return VolumeRow(identity, name, time.time_ns(), msgspec.json.encode(record))


def mount_options(options: Mapping[str, str]) -> builtins.list[str]:
    """The mount options that the driver was given (``o``)."""
    return [option for option in options.get("o", "").split(",") if option]


def check_options(options: Mapping[str, str]) -> None:
    """Refuse what the driver ``local`` does not do here.

    Raises
    ------
    InvalidInput, Unsupported, NotFound
        naming the option.
    """
    if unknown := set(options) - _OPTIONS:
        raise InvalidInput(f"invalid option {min(unknown)!r} of a volume", hint="the options are type, device and o")
    if not options:
        return
    kind, device, flags = options.get("type", ""), options.get("device", ""), mount_options(options)
    if kind == "tmpfs":
        mounts.read_tmpfs(f"/volume:{','.join(flags)}")
    elif kind in {"", "none", "bind"} and {"bind", "rbind"} & {*flags, kind}:
        if not os.path.isabs(device):
            raise InvalidInput(f"invalid device {device!r} of a volume: a bind needs an absolute path")
        if not os.path.isdir(device):
            raise NotFound(f"the directory of the volume does not exist: {device}", hint="make it first")
        known = {"bind", "rbind", "ro", "rw", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime"}
        if strange := set(flags) - known:
            raise InvalidInput(f"invalid mount option {min(strange)!r} of a volume")
    else:
        raise Unsupported(
            f"volumes of the type {kind or 'none'!r} are not supported: this engine mounts no network or block device",
            hint="mount it on the host, and use type=none, o=bind, device=DIR; or type=tmpfs",
        )


def tell(parts: Parts, action: str, name: str) -> None:
    """Enter in the store's journal what this process did with a volume."""
    journal.append(str(parts.paths.root / journal.NAME), "volume", action, name, {"driver": "local"})


def obtain(parts: Parts, name: str, record: VolumeRecord, fill: Callable[[Draft], object]) -> tuple[VolumeRow, bool]:
    """The volume of this name, which is made with ``fill`` if there is none; whether it was.

    Raises
    ------
    Conflict
        when there is one with other driver options.
    """
    known = parts.state.volume(name)
    if known is None:
        mounts.check_name(name)
        check_options(record.options)
        row = new_row(new_id(), name, record)
        with parts.volumes.draft() as draft:
            fill(draft)
            with parts.volumes.entering():
                draft.place(row.id)
                try:
                    parts.state.add_volume(row)
                except NameInUse:
                    known = parts.state.volume(name)
                except BaseException:
                    parts.volumes.remove(row.id)
                    raise
        if known is None:
            tell(parts, "create", name)
            return row, True
        parts.volumes.remove(row.id)
    check_same(known, record.options)
    return known, False


def check_same(known: VolumeRow, options: Mapping[str, str]) -> None:
    """Raises Conflict when a volume that exists has other driver options than those asked for."""
    if options and decode(known).options != options:
        raise Conflict(
            f"the volume {known.name} exists with other options", hint="remove it first, or choose another name"
        )


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume by its id; ``mountpoint`` is the directory of its data on the host."""

    id: str
    name: str
    mountpoint: str

    def __str__(self) -> str:
        """The name, as commands take it."""
        return self.name


class Volumes:
    """The volumes of an engine. All methods block and are thread-safe; a volume is named by its name."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    # -- making ------------------------------------------------------------------------------------------------------

    def create(
        self,
        name: str | None = None,
        *,
        driver: str | None = None,
        opt: Mapping[str, str] | Sequence[str] = (),
        label: Mapping[str, str] | Sequence[str] = (),
    ) -> Volume:
        """Make a volume; one of this name that exists already is returned as it is.

        Parameters
        ----------
        name
            Without one the volume is anonymous: its id is its name.
        opt
            Of the driver ``local``: ``type`` (tmpfs, or none with ``o=bind``), ``device``, ``o`` (mount options).

        Raises
        ------
        InvalidInput, Unsupported, NotFound, Conflict
            naming what cannot be.
        """
        mounts.check_driver(driver)
        record = VolumeRecord(labels=_pairs(label), options=_pairs(opt), anonymous=not name)
        row, _made = obtain(self._parts, name or new_id(), record, lambda draft: draft.make())
        return self._volume(row)

    def clone(self, source: str, target: str, *, label: Mapping[str, str] | Sequence[str] | None = None) -> Volume:
        """Make a volume with the content of another one; blocks are shared where the file system can.

        A container that writes to the source meanwhile is not stopped. Labels are those of the source unless given.

        Raises
        ------
        VolumeNotFound, NameInUse, Unsupported
            when there is no source, the target exists, or the source has no data of its own.
        """
        row = self._row(source)
        record = self._with_data(row)
        labels = record.labels if label is None else _pairs(label)
        return self._new(target, VolumeRecord(labels=labels), lambda draft: draft.copy(row.id))

    def snapshot(self, name: str, target: str | None = None) -> Volume:
        """Keep what a volume holds at one moment, as another volume; running containers that have it stand still.

        Parameters
        ----------
        target
            The name of the snapshot; by default that of the volume with the time.

        Raises
        ------
        VolumeNotFound, NameInUse, Unsupported
            as :meth:`clone`.
        """
        row = self._row(name)
        self._with_data(row)
        made = target or f"{row.name}-{datetime.now(tz=UTC):%Y%m%d-%H%M%S-%f}"
        if self._parts.state.volume(made) is not None:
            raise NameInUse(f'the volume name "{made}" is already in use', hint="choose another name")
        with self._standing_still(row):
            return self.clone(row.id, made, label={SNAPSHOT_LABEL: row.name})

    @contextmanager
    def _standing_still(self, row: VolumeRow) -> Iterator[None]:
        """While the running containers that have a volume are paused, but those that are so already."""
        from jupyter_containers.engine.container.control import Control  # noqa: PLC0415 - it needs this module

        control, paused = Control(self._parts), []
        try:
            for identity, _name in self._parts.state.volume_users(row.id):
                with suppress(Conflict):  # it does not run, or is paused
                    control.pause(identity)
                    paused.append(identity)
            yield
        finally:
            for identity in paused:
                with suppress(Conflict, NotFound):  # it was ended meanwhile
                    control.unpause(identity)

    def diff(self, name: str, since: str) -> builtins.list[FileChange]:
        """What is different in a volume from what another one holds, its snapshot for one, by path.

        Raises
        ------
        VolumeNotFound, Unsupported
            when one is missing, or has no data of its own.
        """
        rows = [self._row(name), self._row(since)]
        for row in rows:
            self._with_data(row)
        upper, lower = (self._parts.volumes.data(row.id) for row in rows)
        found = self._parts.trees.changes(upper, DiffOptions((lower,), compare=True))
        return [FileChange(_KINDS[change.kind], change.path) for change in found]

    def load(
        self,
        name: str,
        archive: BinaryIO | str | os.PathLike[str],
        *,
        label: Mapping[str, str] | Sequence[str] = (),
        progress: Progress | None = None,
    ) -> Volume:
        """Give a volume the content of a tar archive, compressed or not, instead of its own; make it if there is none.

        Docker's ``import``, which is no name in Python. All of it or, when the archive is damaged, nothing.

        Raises
        ------
        LayerCorrupt, Conflict, Unsupported
            when the archive is damaged, a running container has the volume, or it has no data of its own.
        """
        with opened(archive, "rb") as stream:
            row = self._parts.state.volume(name)
            if row is None:
                record = VolumeRecord(labels=_pairs(label))
                return self._new(name, record, lambda draft: draft.read_archive(stream, progress=progress))
            self._with_data(row)
            with self._parts.volumes.changing(row.id), self._parts.volumes.draft() as draft:
                draft.read_archive(stream, progress=progress)
                self._refuse_running(row)
                draft.replace(row.id)
            return self._volume(row)

    def _new(self, name: str, record: VolumeRecord, fill: Callable[[Draft], object]) -> Volume:
        row, made = obtain(self._parts, name, record, fill)
        if not made:
            raise NameInUse(f'the volume name "{name}" is already in use', hint="choose another name")
        return self._volume(row)

    # -- looking -----------------------------------------------------------------------------------------------------

    def _row(self, name: str) -> VolumeRow:
        row = self._parts.state.volume(name)
        if row is None:
            raise VolumeNotFound(f"no such volume: {name}", hint="'volume ls' lists what there is")
        return row

    def _volume(self, row: VolumeRow) -> Volume:
        return Volume(row.id, row.name, str(self._parts.volumes.data(row.id)))

    def _with_data(self, row: VolumeRow) -> VolumeRecord:
        record = decode(row)
        if record.options:
            raise Unsupported(
                f"the volume {row.name} has no data of its own: it is {record.options.get('device') or 'in memory'}"
            )
        return record

    def get(self, name: str) -> Volume:
        """One volume; raises VolumeNotFound."""
        return self._volume(self._row(name))

    def list(self, *, size: bool = False) -> builtins.list[VolumeSummary]:
        """All volumes by name; ``size`` measures them, which reads all their directories."""
        return [self._summary(row, size=size) for row in self._parts.state.volumes()]

    def _summary(self, row: VolumeRow, *, size: bool) -> VolumeSummary:
        record = decode(row)
        return VolumeSummary(
            name=row.name,
            driver="local",
            created=datetime.fromtimestamp(row.created / 1e9, tz=UTC),
            mountpoint=str(self._parts.volumes.data(row.id)),
            containers=tuple(name for _id, name in self._parts.state.volume_users(row.id)),
            anonymous=record.anonymous,
            size=self._parts.volumes.usage(row.id).bytes if size and not record.options else None,
            labels=record.labels,
            options=record.options,
        )

    def inspect(self, name: str) -> dict[str, Any]:
        """A volume as Docker's ``volume inspect`` shows it, with the containers that use it."""
        row = self._row(name)
        record, found = decode(row), self._summary(row, size=True)
        return {
            "CreatedAt": f"{found.created:%Y-%m-%dT%H:%M:%SZ}",
            "Driver": found.driver,
            "Labels": record.labels or None,
            "Mountpoint": found.mountpoint,
            "Name": row.name,
            "Options": record.options or None,
            "Scope": "local",
            "UsageData": {"RefCount": len(found.containers), "Size": -1 if found.size is None else found.size},
            "Anonymous": record.anonymous,
            "Containers": list(found.containers),
        }

    def export(self, name: str, output: BinaryIO | str | os.PathLike[str], *, progress: Progress | None = None) -> None:
        """Write the content of a volume as a tar archive to a file, which appears whole, or to an open one."""
        row = self._row(name)
        self._with_data(row)
        with opened(output, "wb") as stream:
            self._parts.volumes.write_archive(row.id, stream, progress=progress)

    def list_files(self, name: str, path: str = "/", *, skip: int = 0, limit: int = 1000) -> Directory:
        """What is in a directory of a volume: at most ``limit`` names from ``skip`` on; errors name the path."""
        from jupyter_containers.engine.files import browsing  # noqa: PLC0415 - seldom used

        with self._opened(name) as tree:
            return browsing.listing(tree, path, skip=skip, limit=limit)

    def read_file(self, name: str, path: str, *, limit: int, partly: bool = False) -> bytes:
        """A file of a volume as bytes; parameters and errors as those of ``browsing.content``."""
        from jupyter_containers.engine.files import browsing  # noqa: PLC0415 - seldom used

        with self._opened(name) as tree:
            return browsing.content(tree, path, limit=limit, partly=partly)

    def _opened(self, name: str) -> AbstractContextManager[FileTree]:
        from jupyter_containers.engine.files import file_tree  # noqa: PLC0415 - seldom used

        row = self._row(name)
        self._with_data(row)
        return file_tree.open_directory(self._parts, str(self._parts.volumes.data(row.id)), f"the volume {row.name}")

    # -- changing, ending --------------------------------------------------------------------------------------------

    def rename(self, name: str, new_name: str) -> Volume:
        """Give a volume another name; containers keep it.

        Raises
        ------
        VolumeNotFound, NameInUse, InvalidInput
            for names that are none, or taken.
        """
        mounts.check_name(new_name)
        row = self._row(name)
        self._parts.state.rename_volume(row.id, new_name)
        for identity, _name in self._parts.state.volume_users(row.id):
            self._rename_in(identity, row.id, new_name)
        return self._volume(self._row(row.id))

    def _rename_in(self, container: str, volume: str, name: str) -> None:
        """Let the record of a container show the name; what it mounts goes by the volume's id."""

        def renamed(record: ContainerRecord) -> ContainerRecord:
            points = tuple(
                msgspec.structs.replace(point, source=name) if point.volume == volume else point
                for point in record.mounts
            )
            return msgspec.structs.replace(record, mounts=points)

        with suppress(NotFound):  # the container was removed meanwhile
            change(self._parts.state, container, renamed)

    def remove(self, name: str, *, force: bool = False) -> None:
        """Delete a volume with its content; ``force`` is silent about one there is not.

        Raises
        ------
        VolumeNotFound, Conflict
            Conflict names the containers that use it.
        """
        row = self._parts.state.volume(name) if force else self._row(name)
        if row is not None and self._parts.state.remove_volume(row):
            self._parts.volumes.remove(row.id)
            tell(self._parts, "destroy", row.name)

    def prune(
        self,
        *,
        all: bool = False,  # noqa: A002 - docker's flag
        keep: Callable[[VolumeSummary], bool] = lambda _row: False,
    ) -> PruneReport:
        """Delete the anonymous volumes, or ``all``, that no container uses, but those that ``keep`` is true for."""
        removed, total = [], 0
        for row in self.unused(all=all, keep=keep):
            size = self._parts.volumes.usage(row.id).bytes
            try:
                gone = self._parts.state.remove_volume(row)
            except Conflict:
                continue  # a container came first
            if gone:
                self._parts.volumes.remove(row.id)
                tell(self._parts, "destroy", row.name)
                removed.append(row.name)
                total += size
        supervision.tell_pruned(self._parts, "volume", total)
        return PruneReport(tuple(removed), total)

    def unused(
        self,
        *,
        all: bool = False,  # noqa: A002 - docker's flag
        keep: Callable[[VolumeSummary], bool] = lambda _row: False,
        without: Collection[str] = (),
    ) -> builtins.list[VolumeRow]:
        """The volumes that :meth:`prune` would delete, were the containers of the ids ``without`` not there."""
        found = []
        for row in self._parts.state.volumes():
            users = {identity for identity, _name in self._parts.state.volume_users(row.id)}
            summary = self._summary(row, size=False)
            if users <= set(without) and (all or summary.anonymous) and not keep(summary):
                found.append(row)
        return found

    def _refuse_running(self, row: VolumeRow) -> None:
        for identity, name in self._parts.state.volume_users(row.id):
            if status.read(self._parts.paths, identity).running:
                raise Conflict(f"the volume {row.name} is in use by container {name}, which runs", hint=f"stop {name}")


def _pairs(given: Mapping[str, str] | Sequence[str]) -> dict[str, str]:
    if isinstance(given, str):
        return split_pairs([given])
    return {str(key): str(value) for key, value in given.items()} if hasattr(given, "items") else split_pairs(given)
