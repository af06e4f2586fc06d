"""Moving a container to another store: with its writable layer, volumes, log and configuration.

The other side has nothing that anybody sees until all of it has come, and then enters the container in one
transaction. This side has it until it was told so. Between the two moments a mark on the disk says that the outcome is
not known: the container cannot be started here, and the next move of it asks first. So it can be started in one place,
and in one only, whoever is killed and whenever.

A container that is moved while it runs (``live.py``) stands still from the first mark to its end here, and goes on
there before it is there for good: what fails until then fails here, and it goes on here. Where the other side is killed
between, the next command there gives up what was arriving.

::

    here                                          there
    mark "sending"; image, volumes, layer    ->   scratch
    mark "committing", commit                ->   the row: from now on it is there
    the container is removed, the mark       <-   done
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from jupyter_containers.engine import status, volumes
from jupyter_containers.engine.launch import creation
from jupyter_containers.engine.move import channel as move_channel
from jupyter_containers.engine.move import live
from jupyter_containers.engine.move import mark as move_mark
from jupyter_containers.engine.move.channel import connected
from jupyter_containers.engine.move.mark import Mark
from jupyter_containers.engine.record import ContainerRecord
from jupyter_containers.engine.repair import recovery
from jupyter_containers.errors import (
    Conflict,
    ContainerNotFound,
    EngineError,
    Unavailable,
)
from jupyter_containers.oci.names import Digest
from jupyter_containers.records import dataclass
from jupyter_containers.runtime import criu

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from jupyter_containers.engine.launch.mounts import MountPoint
    from jupyter_containers.engine.move.channel import Channel
    from jupyter_containers.engine.parts import Parts

_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of a move. ``started`` is None where it was not to be started; ``failed`` says why it did not."""

    id: str
    name: str
    target: str
    started: bool | None
    failed: str = ""


def recover(parts: Parts) -> list[str]:
    """Clear up after moves that were cut off; a line for each. A move within this machine is finished."""
    told = []
    for identity in move_mark.marked(parts.paths.root):
        with recovery.Ownership(parts, identity, patience=0) as lock:
            mark = move_mark.read(parts.paths.root, identity) if lock.held else None
            if mark is None:
                continue
            rows = parts.state.containers([identity])
            if not rows:
                move_mark.clear(parts.paths.root, identity)
                continue
            told.append(_recover_one(parts, ContainerRecord.decode(rows[0].record), mark))
    return told


def _recover_one(parts: Parts, record: ContainerRecord, mark: Mark) -> str:
    if mark.arriving:
        remove(parts, record)
        return f"{record.name} did not come here whole and was given up: it is where it was"
    if not mark.committing:
        if mark.live:
            live.resume(parts, record)
        move_mark.clear(parts.paths.root, record.id)
        text = f"the move of {record.name} was cut off; it is here, as before"
        if mark.live or not mark.running or status.read(parts.paths, record.id).running:
            return text
        try:
            creation.start(parts, record, (None, None, None), detach=True).close()
        except EngineError as error:
            return f"{text}, and could not be started again: {error.message}"
        return f"{text}, and was started again"
    if not mark.target.startswith("ssh://"):
        with suppress(EngineError):
            return f"the move of {record.name} was cut off; {_find_out(parts, record, mark)}"
    return (
        f"the move of {record.name} to {mark.target} was cut off: it may be there; "
        f"container move {record.name} --to {mark.target} finishes it"
    )


def _find_out(parts: Parts, record: ContainerRecord, mark: Mark) -> str:
    """Ask the target where the container is, and have it be there only or here only."""
    with connected(mark.target) as channel:
        if _ask(parts, channel, record, start=mark.running) is not None:
            return f"it is at {mark.target}"
    if mark.running and not mark.live:
        creation.start(parts, record, (None, None, None), detach=True).close()
    return "it is here, as before"


def _ask(parts: Parts, channel: Channel, record: ContainerRecord, *, start: bool) -> str | None:
    """Whether the target has the container: then it goes from here. Why it did not start there; None if it is here."""
    channel.send("ask", version=move_channel.VERSION, id=record.id)
    if not channel.receive("answer")["here"]:
        live.resume(parts, record)
        move_mark.clear(parts.paths.root, record.id)
        return None
    remove(parts, record)
    return _begin(channel, start=start)


def _begin(channel: Channel, *, start: bool) -> str:
    """Have the target start what it has; why it did not."""
    channel.send("start" if start else "leave")
    failed = str(channel.receive("started")["failed"]) if start else ""
    channel.receive("over")
    return failed


# -- the move --------------------------------------------------------------------------------------------------------


def move(
    parts: Parts,
    record: ContainerRecord,
    target: str,
    *,
    stop: Callable[[], bool],
    start: bool | None = None,
    program: str = move_channel.PROGRAM,
    running: bool = False,
) -> Moved:
    """See :meth:`jupyter_containers.engine.containers.Containers.move`. ``stop`` ends it, and says whether it ran.

    ``running``: it is moved as it runs, and ``stop`` is not called.
    """
    move_channel.command_for(target, program)
    mark = move_mark.read(parts.paths.root, record.id)
    if mark is not None and mark.committing:
        if mark.target != target:
            move_mark.check(parts.paths.root, record.id, record.name)
        with connected(target, program) as channel, _owning(parts, record):
            failed = _ask(parts, channel, record, start=mark.running if start is None else start)
        if failed is not None:
            wanted = mark.running if start is None else start
            return Moved(record.id, record.name, target, (not failed) if wanted else None, failed)
        start = mark.running if start is None else start
    now = status.read(parts.paths, record.id)
    if now.state == "paused":
        raise Conflict(f"the container {record.name} is paused", hint=f"unpause it (unpause {record.name})")
    source = live.Source(parts, record) if running and now.running else None
    with connected(target, program) as channel:
        channel.send(
            "hello", version=move_channel.VERSION, id=record.id, record=record.encode().decode(), live=bool(source)
        )
        channel.receive("ready")
        with parts.store.lock(exclusive=False):
            for image in dict.fromkeys([record.digest, *_mounted_images(parts, record)]):
                _send_image(parts, channel, image)
        if source is not None:
            mark = Mark(target, committing=False, running=True, live=True)
            with _owning(parts, record) as lock:
                _hand_over(parts, channel, record, mark, lambda: source.take(lock))
            _begin(channel, start=False)
            return Moved(record.id, record.name, target, started=True)
        ran = stop()
        with _owning(parts, record):
            _hand_over(parts, channel, record, Mark(target, committing=False, running=ran))
        start = ran if start is None else start
        failed = _begin(channel, start=start)
    return Moved(record.id, record.name, target, (not failed) if start else None, failed)


@contextmanager
def _owning(parts: Parts, record: ContainerRecord) -> Iterator[recovery.Ownership]:
    with recovery.Ownership(parts, record.id, patience=_PATIENCE) as lock:
        if not lock.held or not parts.state.containers([record.id]):
            raise Conflict(f"the container {record.name} is being started or removed", hint="try again")
        yield lock


def _hand_over(
    parts: Parts, channel: Channel, record: ContainerRecord, mark: Mark, take: Callable[[], Path] | None = None
) -> None:
    """Send all there is and remove it. Until the target was told to keep it, a failure changes nothing.

    ``take``: it runs, and this takes the state of its processes, which is sent too.
    """
    if take is None and status.read(parts.paths, record.id).running:
        raise Conflict(f"the container {record.name} was started meanwhile", hint="try again")
    try:
        move_mark.write(parts.paths.root, record.id, mark)
        state = take() if take is not None else None
        channel.send("contents")
        for point in _volume_points(record):
            _send_volume(parts, channel, point)
        _send_directory(parts, channel, record)
        if state is not None:
            channel.send("enter")
            _send_files(channel, "state", state, lambda name: name != criu.LOG)
    except BaseException:
        _take_back(parts, record, mark)
        raise
    move_mark.write(parts.paths.root, record.id, msgspec.structs.replace(mark, committing=True))
    try:
        channel.send("commit")
        channel.receive("done")
    except Conflict:  # it has said that it does not keep it
        _take_back(parts, record, mark)
        raise
    except Unavailable as error:
        raise Unavailable(
            f"{error.message} while {record.name} was handed over: it may be there",
            hint=f"container move {record.name} --to {mark.target} finds out and finishes the move",
        ) from error
    remove(parts, record)


def _take_back(parts: Parts, record: ContainerRecord, mark: Mark) -> None:
    """It does not go: have it run as before."""
    if mark.live:
        live.resume(parts, record)
    move_mark.clear(parts.paths.root, record.id)
    if mark.running and not mark.live:
        creation.start(parts, record, (None, None, None), detach=True).close()


def remove(parts: Parts, record: ContainerRecord) -> None:
    """Let the container be gone from here, with its processes and the volumes that no other one uses."""
    if status.read(parts.paths, record.id).running:
        live.kill(parts, record)
    creation.discard(parts, record, volumes=True)
    for point in _volume_points(record):
        row = parts.state.volume(point.volume)
        with suppress(Conflict):
            if row is not None and parts.state.remove_volume(row):
                parts.volumes.remove(row.id)
                volumes.tell(parts, "destroy", row.name)
    parts.state.sync()
    move_mark.clear(parts.paths.root, record.id)


# -- what is sent ----------------------------------------------------------------------------------------------------


def _volume_points(record: ContainerRecord) -> list[MountPoint]:
    """Its volumes, each once."""
    return list({point.volume: point for point in record.mounts if point.volume}.values())


def _mounted_images(parts: Parts, record: ContainerRecord) -> list[str]:
    return [parts.library.find(point.source).digest for point in record.mounts if point.kind == "image"]


def _send_image(parts: Parts, channel: Channel, digest: str) -> None:
    row = parts.state.image(digest)
    if row is None:
        raise ContainerNotFound(
            f"the image {digest[7:19]} of the container is not here any more", hint="pull or build it again"
        )
    model = parts.library.read(row)
    blobs = sorted(f"{blob}" for blob in model.blobs)
    channel.send(
        "image", digest=row.digest, media_type=row.media_type, size=row.size, names=list(row.names), blobs=blobs
    )
    for blob in channel.receive("missing")["blobs"]:
        if blob not in blobs:
            raise Unavailable(f"{channel.other} asks for what is not of the image")
        with parts.store.open(Digest(blob)) as file:
            while data := file.read(1 << 18):
                channel.write(data)
        channel.end()


def _send_volume(parts: Parts, channel: Channel, point: MountPoint) -> None:
    row = parts.state.volume(point.volume)
    if row is None:
        raise ContainerNotFound(f"the volume {point.source} is gone")
    record = volumes.decode(row)
    data = not record.options
    channel.send("volume", id=row.id, name=row.name, created=row.created, record=row.record.decode(), data=data)
    if data:
        parts.volumes.write_archive(row.id, channel)
        channel.end()


def _send_directory(parts: Parts, channel: Channel, record: ContainerRecord) -> None:
    """The writable layer, the log, and how it ended last; nothing of a container that never ran."""
    directory = parts.paths.containers / record.id
    if not directory.is_dir():
        return
    if (directory / "work").exists():
        chains = [Digest(chain) for chain in record.chains]
        channel.send("layer")
        parts.snapshotter.diff(parts.snapshotter.attach(chains, directory), channel)
        channel.end()
    _send_files(channel, "file", directory, lambda name: name == "exit" or name.startswith("log.json"))


def _send_files(channel: Channel, kind: str, directory: Path, wanted: Callable[[str], bool]) -> None:
    for path in sorted(directory.iterdir()):
        if wanted(path.name):
            channel.send(kind, name=path.name)
            with path.open("rb") as file:
                while data := file.read(1 << 18):
                    channel.write(data)
            channel.end()
