"""The side of a move that a container comes to: it has nothing until it is told, and then all of it at once."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from jupyter_containers.engine import status, supervision
from jupyter_containers.engine import volumes as volumes_of
from jupyter_containers.engine.launch import creation
from jupyter_containers.engine.move import channel as move_channel
from jupyter_containers.engine.move import live, moving
from jupyter_containers.engine.move import mark as move_mark
from jupyter_containers.engine.move.mark import Mark
from jupyter_containers.engine.network import endpoints as reading
from jupyter_containers.engine.network import networking
from jupyter_containers.engine.network.record import BRIDGE
from jupyter_containers.engine.record import ContainerRecord
from jupyter_containers.engine.repair import recovery
from jupyter_containers.engine.small_files import clear_away
from jupyter_containers.errors import (
    Conflict,
    EngineError,
    NameInUse,
    NetworkNotFound,
    NotFound,
    SystemFailure,
    Unsupported,
)
from jupyter_containers.events import ignore
from jupyter_containers.linux.syscalls import sync_file_system
from jupyter_containers.oci.image_spec import Descriptor
from jupyter_containers.oci.names import Digest, Reference
from jupyter_containers.snapshots.scratch import ScratchSpace
from jupyter_containers.state import ContainerRow, VolumeRow

if TYPE_CHECKING:
    from jupyter_containers.engine.parts import Parts

_PATIENCE = 30.0
"""Seconds to wait for another connection that is about the same container."""


def receive(parts: Parts, incoming: BinaryIO, outgoing: BinaryIO) -> None:
    """Serve one connection: take a container over, or say whether it is here.

    Raises
    ------
    EngineError
        what the other side was told, too.
    """
    channel = move_channel.Channel(incoming, outgoing, other="the source")
    try:
        hello = channel.receive("hello", "ask")
        if hello["version"] != move_channel.VERSION:
            raise Unsupported("the two sides are of different versions", hint="use one version on both")
        with recovery.Ownership(parts, hello["id"], patience=_PATIENCE) as lock:
            if not lock.held:
                raise Conflict(f"the container {hello['id'][:12]} is being moved here by somebody else")
            try:
                _serve(parts, channel, hello)
            finally:
                if not parts.state.containers([hello["id"]]):
                    clear_away(parts.paths.running / hello["id"])
    except EngineError as error:
        channel.fail(error)
        raise
    except OSError as error:
        failed = SystemFailure(f"a container cannot be stored: {error.strerror or error}")
        channel.fail(failed)
        raise failed from error


def _serve(parts: Parts, channel: move_channel.Channel, hello: dict[str, Any]) -> None:
    rows = parts.state.containers([hello["id"]])
    if hello["kind"] == "ask":
        if rows and _gave_up(parts, hello["id"], rows[0]):
            rows = []
        channel.send("answer", here=bool(rows))
        if not rows:
            return
    else:
        if rows and not _gave_up(parts, hello["id"], rows[0]):
            raise NameInUse(f"the container {hello['id'][:12]} is here already")
        with parts.store.lock(exclusive=False):
            _take(parts, channel, ContainerRecord.decode(hello["record"].encode()), running=bool(hello.get("live")))
    if channel.receive("start", "leave")["kind"] == "start":
        _start(parts, channel, hello["id"])
    channel.send("over")


def _gave_up(parts: Parts, identity: str, row: ContainerRow) -> bool:
    """Whether it had come only in part when it was moved here while it ran; then it goes."""
    mark = move_mark.read(parts.paths.root, identity)
    if mark is None or not mark.arriving:
        return False
    moving.remove(parts, ContainerRecord.decode(row.record))
    return True


def _start(parts: Parts, channel: move_channel.Channel, identity: str) -> None:
    """Start what has come; a failure is told, and leaves it here."""
    try:
        if not status.read(parts.paths, identity).running:
            (row,) = parts.state.containers([identity])
            creation.start(parts, ContainerRecord.decode(row.record), (None, None, None), detach=True).close()
        channel.send("started", failed="")
    except EngineError as error:
        channel.send("started", failed=error.message)


def _take(parts: Parts, channel: move_channel.Channel, record: ContainerRecord, *, running: bool) -> None:
    record = _fitted(parts, record)
    criu = live.program() if running else ""
    channel.send("ready")
    while (message := channel.receive("image", "contents"))["kind"] == "image":
        _take_image(parts, channel, message)
    with ExitStack() as stack:
        arrival = _Arrival(parts, record, stack)
        end = "enter" if running else "commit"
        while (message := channel.receive("volume", "layer", "file", end))["kind"] != end:
            arrival.add(channel, message)
        if running:
            move_mark.write(parts.paths.root, record.id, Mark("", committing=False, running=True, arriving=True))
        try:
            arrival.enter()
        except BaseException:
            move_mark.clear(parts.paths.root, record.id)
            raise
    if running:
        _go_on(parts, channel, record, criu)
    channel.send("done")


def _go_on(parts: Parts, channel: move_channel.Channel, record: ContainerRecord, criu: str) -> None:
    """Take the state of its processes and have them go on. Where they cannot, all that has come is given up.

    The state comes last, when all else is safe on the disk: it is not to stay, and to have it there too takes long.
    """
    try:
        directory = parts.paths.containers / record.id / live.DIRECTORY
        directory.mkdir(mode=0o700)
        while (message := channel.receive("state", "commit"))["kind"] != "commit":
            with (directory / os.path.basename(message["name"])).open("xb", buffering=0) as file:
                file.writelines(channel.pieces())
        restore = live.received(parts, record, criu)
        creation.start(parts, record, (None, None, None), detach=True, restore=restore).close()
        live.clear(parts, record)
        parts.state.sync()
    except BaseException:
        moving.remove(parts, record)
        raise
    move_mark.clear(parts.paths.root, record.id)


def _fitted(parts: Parts, record: ContainerRecord) -> ContainerRecord:
    """The record as it is here; refuses what this store or this machine does not have."""
    if parts.state.find_containers(record.name):
        raise NameInUse(f'the container name "{record.name}" is already in use', hint="rename one of the two")
    if record.network.startswith(reading.CONTAINER):
        raise Unsupported(f"{record.name} shares the network of another container", hint="run it anew over there")
    for point in record.mounts:
        if point.kind == "bind" and not point.create_source and not os.path.lexists(point.source):
            raise NotFound(f"bind source path does not exist: {point.source}", hint="make it first")
        if point.volume and (other := parts.state.volume(point.source)) is not None:
            raise NameInUse(f'the volume name "{other.name}" is already in use', hint="rename one of the two")
    try:
        network, places, notices = networking.choose(parts, record.options, lambda name: name)
        known = {place.name for place in places}
        more = [
            reading.Endpoint(name=each.name, aliases=each.aliases, ip=each.ip, ip6=each.ip6)
            for each in record.endpoints
            if each.name not in {*known, BRIDGE}
        ]
        added = networking.settle(parts, more, taken=[place.position for place in places]) if places else []
    except NetworkNotFound as error:
        raise NetworkNotFound(error.message, hint="make the network first") from error
    return msgspec.structs.replace(
        record, network=network, endpoints=(*places, *added), address="", bound=(), notices=tuple(notices)
    )


def _take_image(parts: Parts, channel: move_channel.Channel, message: dict[str, Any]) -> None:
    """Take the blobs that are missing, and enter the image under those of its names that are free."""
    missing = [digest for digest in message["blobs"] if not parts.store.has(Digest(digest))]
    channel.send("missing", blobs=missing)
    for digest in missing:
        with parts.store.ingest(expected=Digest(digest)) as blob:
            for piece in channel.pieces():
                blob.write(piece)
            blob.commit()
    descriptor = Descriptor(message["media_type"], message["digest"], message["size"])
    names = [Reference.parse(name) for name in message["names"] if parts.state.image_named(name) is None]
    parts.library.unpack(parts.library.read(parts.library.record(descriptor, names)), sink=ignore)


class _Arrival:
    """What has come of a container, in places that are cleared when the process ends before it is entered."""

    def __init__(self, parts: Parts, record: ContainerRecord, stack: ExitStack) -> None:
        self._parts = parts
        self._record = record
        self._stack = stack
        self._space = ScratchSpace(parts.paths.root / "scratch", parts.trees)
        self._scratch, descriptor = self._space.new()
        stack.callback(self._space.discard, self._scratch, descriptor)
        self._directory = self._scratch / "container"
        self._directory.mkdir(mode=0o711)
        self._drafts: list[tuple[VolumeRow, Any]] = []

    def add(self, channel: move_channel.Channel, message: dict[str, Any]) -> None:
        """Take a volume, the writable layer, or a file."""
        match message["kind"]:
            case "volume":
                draft = self._stack.enter_context(self._parts.volumes.draft())
                if message["data"]:
                    with channel.stream() as archive:
                        draft.read_archive(archive)
                else:
                    draft.make()
                record = message["record"].encode()
                self._drafts.append((VolumeRow(message["id"], message["name"], message["created"], record), draft))
            case "layer":
                chains = [Digest(chain) for chain in self._record.chains]
                with channel.stream() as archive:
                    self._parts.snapshotter.restore(chains, archive, directory=self._directory)
            case _:
                name = os.path.basename(message["name"])
                with (self._directory / name).open("xb") as file:
                    file.writelines(channel.pieces())

    def enter(self) -> None:
        """Let the container be here. It is once the row is written, and not before."""
        parts, record = self._parts, self._record
        target = parts.paths.containers / record.id
        placed: list[str] = []
        with parts.volumes.entering():
            try:
                for row, draft in self._drafts:
                    draft.place(row.id)
                    placed.append(row.id)
                os.rename(self._directory, target)
                sync_file_system(str(parts.paths.root))
                rows = [row for row, _draft in self._drafts]
                parts.state.add_container(
                    ContainerRow(record.id, record.name, record.digest, record.created, record.encode()),
                    volumes=[point.volume for point in record.mounts if point.volume],
                    new_volumes=rows,
                )
            except BaseException:
                with suppress(NotFound):
                    parts.trees.remove(target)
                for identity in placed:
                    parts.volumes.remove(identity)
                raise
        parts.state.sync()
        for row in rows:
            volumes_of.tell(parts, "create", row.name)
        supervision.tell(parts, record, "create")
