"""The mounts of one container: decided when it is created, made into a specification's when it is started.

Volumes are filled before the container is entered in the state file, and those without a name are entered with it, so
that a crash leaves neither a container without its volumes nor a volume of nobody.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

import msgspec

from jupyter_containers.engine import status, volumes
from jupyter_containers.engine.launch import mounts
from jupyter_containers.engine.launch.mounts import MountPoint
from jupyter_containers.engine.record import new_id
from jupyter_containers.errors import InvalidInput, NotFound
from jupyter_containers.oci.names import Digest
from jupyter_containers.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from types import TracebackType

    from jupyter_containers.engine.options import RunOptions
    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.engine.record import ContainerRecord
    from jupyter_containers.events import EventSink
    from jupyter_containers.oci.runtime_spec import Mount
    from jupyter_containers.state import VolumeRow
    from jupyter_containers.volumes import Draft


def read(options: RunOptions, find: Callable[[str], ContainerRecord]) -> list[MountPoint]:
    """The mounts the options ask for; ``find`` gives the record of a container that ``--volumes-from`` names.

    Raises
    ------
    InvalidInput, NotFound, Unsupported
        naming what cannot be mounted.
    """
    points = chosen(options, find)
    for point in mounts.read(options):
        if point.kind == "bind":
            _check_source(point)
    return points


def chosen(options: RunOptions, find: Callable[[str], ContainerRecord]) -> list[MountPoint]:
    """The same without a look at, or the making of, what is to be bound."""
    points = {point.target: point for text in options.volumes_from for point in _inherited(text, find)}
    points |= {point.target: point for point in mounts.read(options)}
    return sorted(points.values(), key=lambda point: point.target.count("/"))


def implied(points: Sequence[MountPoint], declared: Collection[str]) -> list[MountPoint]:
    """The volumes for the places where an image wants some (``VOLUME``) and nothing else is mounted."""
    covered = {point.target for point in points}
    wanted = [mounts.place(path, path) for path in declared if path]
    return [MountPoint(kind="volume", target=target) for target in dict.fromkeys(wanted) if target not in covered]


def _inherited(text: str, find: Callable[[str], ContainerRecord]) -> list[MountPoint]:
    name, _, mode = text.partition(":")
    if not name or mode not in {"", "ro", "rw", "z", "Z"}:
        raise InvalidInput(f"invalid --volumes-from {text!r}", hint="write it as CONTAINER or CONTAINER:ro")
    return [
        msgspec.structs.replace(point, read_only=point.read_only or mode == "ro", copy=False)
        for point in find(name).mounts
        if point.kind != "tmpfs"
    ]


def is_missing(point: MountPoint) -> bool:
    """Whether what is to be bound has to be made first. Raises NotFound when it is not to be."""
    if os.path.lexists(point.source):
        return False
    if not point.create_source:
        raise NotFound(
            f"bind source path does not exist: {point.source}", hint="make it first, or add bind-create-src=true"
        )
    return True


def _check_source(point: MountPoint) -> None:
    """See that there is what is to be bound, or make it where that is wanted."""
    if not is_missing(point):
        return
    try:
        os.makedirs(point.source)
    except FileExistsError:
        return
    except OSError as error:
        raise NotFound(
            f"the volume's path {point.source} does not exist and cannot be made: {error.strerror}"
        ) from error


@dataclass(slots=True)
class Prepared:
    """What a container is entered with. As a context manager it takes back what was not entered.

    Attributes
    ----------
    points
        All mounts, complete.
    new
        The rows of the volumes that are made with the container.
    """

    parts: Parts
    points: tuple[MountPoint, ...] = ()
    new: list[VolumeRow] = field(default_factory=list)
    _drafts: list[tuple[str, Draft]] = field(default_factory=list)
    _placed: list[str] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                for identity in self._placed:
                    self.parts.volumes.remove(identity)
        finally:
            self._stack.close()

    @property
    def used(self) -> list[str]:
        """The ids of its volumes."""
        return [point.volume for point in self.points if point.volume]

    def add_anonymous(self, point: MountPoint, chains: Sequence[Digest]) -> MountPoint:
        """Make a volume without a name, with what the image has in its place."""
        identity = new_id()
        draft = self._stack.enter_context(self.parts.volumes.draft())
        _fill(self.parts, draft, point, chains)
        self._drafts.append((identity, draft))
        record = volumes.VolumeRecord(labels=point.labels, options=point.driver_options, anonymous=True)
        volumes.check_options(record.options)
        self.new.append(volumes.new_row(identity, identity, record))
        return msgspec.structs.replace(point, source=identity, volume=identity, anonymous=True)

    def tell(self) -> None:
        """Enter in the journal which volumes were made with the container."""
        for row in self.new:
            volumes.tell(self.parts, "create", row.name)

    def place(self) -> None:
        """Put the data of the new volumes in place, once. The caller is ``entering``."""
        while self._drafts:
            identity, draft = self._drafts.pop()
            self._placed.append(identity)
            draft.place(identity)


def prepare(
    parts: Parts, points: Sequence[MountPoint], declared: Collection[str], chains: Sequence[Digest], sink: EventSink
) -> Prepared:
    """Make ready what a container mounts: its volumes exist and are filled, its images are unpacked.

    ``declared`` are the places for which the image wants volumes (``VOLUME``).
    """
    prepared = Prepared(parts)
    everything = sorted((*points, *implied(points, declared)), key=lambda point: point.target.count("/"))
    try:
        prepared.points = tuple(_settle(parts, point, chains, prepared, sink) for point in everything)
    except BaseException as error:
        prepared.__exit__(type(error), error, None)
        raise
    return prepared


def _settle(
    parts: Parts, point: MountPoint, chains: Sequence[Digest], prepared: Prepared, sink: EventSink
) -> MountPoint:
    if point.kind == "image":
        _row, model = parts.library.obtain(point.source, platform=None, pull="missing", sink=sink)
        layers = parts.library.unpack(model, sink=sink)
        return msgspec.structs.replace(point, chains=tuple(str(chain) for chain in layers))
    if point.kind != "volume" or point.volume:
        return point
    if not point.source:
        return prepared.add_anonymous(point, chains)
    record = volumes.VolumeRecord(labels=point.labels, options=point.driver_options)
    row, made = volumes.obtain(parts, point.source, record, lambda draft: _fill(parts, draft, point, chains))
    if not made and point.copy and not point.subpath and not volumes.decode(row).options:
        _fill_again(parts, row, point, chains)
    return msgspec.structs.replace(point, volume=row.id)


def _fill(parts: Parts, draft: Draft, point: MountPoint, chains: Sequence[Digest]) -> bool:
    if point.copy and not point.subpath and not point.driver_options:
        return draft.fill(parts.snapshotter.layer_dirs(chains), point.target)
    draft.make()
    return False


def _fill_again(parts: Parts, row: VolumeRow, point: MountPoint, chains: Sequence[Digest]) -> None:
    """Fill a volume that has nothing in it, as at its first use, unless a running container has it."""
    store = parts.volumes
    with store.changing(row.id):
        running = any(status.read(parts.paths, user).running for user, _name in parts.state.volume_users(row.id))
        if running or not store.is_empty(row.id):
            return
        with store.draft() as draft:
            if _fill(parts, draft, point, chains):
                draft.replace(row.id)


# -- starting --------------------------------------------------------------------------------------------------------


def make(parts: Parts, record: ContainerRecord, *, mapped: bool) -> list[Mount]:
    """The mounts of a container that is about to be started; ``mapped``: root gave it a user namespace of its own.

    Raises
    ------
    NotFound
        when the source of one is gone.
    """
    return [_mount(parts, point, mapped=mapped) for point in record.mounts]


def _mount(parts: Parts, point: MountPoint, *, mapped: bool) -> Mount:
    match point.kind:
        case "tmpfs":
            return _tmpfs(point.target, point.options, read_only=point.read_only)
        case "image":
            return _image(parts, point)
        case "volume":
            return _volume(parts, point, mapped=mapped)
        case "bind":
            _check_source(point)
            access = "rw"
            if point.read_only:
                access = "rro" if point.recursive in {"enabled", "readonly"} else "ro"
            recursive = "bind" if point.recursive == "disabled" else "rbind"
            return _bind(point.target, point.source, (recursive, point.propagation, access))


def _volume(parts: Parts, point: MountPoint, *, mapped: bool) -> Mount:
    row = parts.state.volume(point.volume)
    if row is None:
        raise NotFound(f"the volume {point.source} is gone", hint="create the container again")
    driver = volumes.decode(row).options
    given = [option for option in volumes.mount_options(driver) if option not in {"bind", "rbind", "rw"}]
    read_only = point.read_only or "ro" in given
    if driver.get("type") == "tmpfs":
        return _tmpfs(point.target, given, read_only=read_only)
    source = driver.get("device") or str(parts.volumes.data(row.id))
    if not os.path.lexists(source):
        raise NotFound(f"the data of the volume {row.name} is gone: {source}", hint=f"remove it: volume rm {row.name}")
    mapping = ["idmap"] if mapped else []
    mount = _bind(point.target, source, ("rbind", "rprivate", *mapping, *given, "rro" if read_only else "rw"))
    return {**mount, "subpath": point.subpath} if point.subpath else mount


def _bind(target: str, source: str, options: Sequence[str]) -> Mount:
    return {"destination": target, "type": "none", "source": source, "options": list(options)}


def _tmpfs(target: str, options: Sequence[str], *, read_only: bool) -> Mount:
    given = [*options, *(["ro"] if read_only else [])]
    return {"destination": target, "type": "tmpfs", "source": "tmpfs", "options": given}


def _image(parts: Parts, point: MountPoint) -> Mount:
    """What an image has at a path, read-only."""
    chains = [Digest(chain) for chain in point.chains]
    return {**parts.snapshotter.show(chains, point.subpath), "destination": point.target}
