"""A container made anew in its place: other variables, labels and mounts, the same id, name and writable layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from jupyter_containers.engine.container.control import Control
from jupyter_containers.engine.launch import mountpoints, mounts
from jupyter_containers.engine.options import RunOptions, merge_environment, resolve_environment, split_pairs
from jupyter_containers.engine.record import ContainerRecord, reuse
from jupyter_containers.errors import Conflict, EngineError, InvalidInput, NotFound, Unsupported
from jupyter_containers.events import ignore
from jupyter_containers.oci.names import Digest
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from jupyter_containers.engine.launch.mounts import MountPoint


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be different; names and places in what is removed."""

    env_add: Sequence[str] = ()
    env_rm: Sequence[str] = ()
    label_add: Sequence[str] = ()
    label_rm: Sequence[str] = ()
    mount_add: Sequence[str] = ()
    mount_rm: Sequence[str] = ()


class Reconfiguration(Control):
    """See the module."""

    def reconfigure(
        self,
        name: str,
        *,
        env_add: Mapping[str, str] | Sequence[str] = (),
        env_rm: Sequence[str] = (),
        label_add: Mapping[str, str] | Sequence[str] = (),
        label_rm: Sequence[str] = (),
        mount_add: Sequence[str] = (),
        mount_rm: Sequence[str] = (),
    ) -> None:
        """Change variables, labels and mounts; a container that runs is stopped and started for it.

        What it has written stays. When it cannot be started so, it is started as it was.

        Parameters
        ----------
        env_add, label_add
            ``NAME=value``, or a mapping; those that are there get the new value.
        env_rm, label_rm
            Names.
        mount_add
            As ``--volume`` or ``--mount`` of ``run`` have them: ``data:/data``, ``type=tmpfs,target=/x``.
        mount_rm
            Places in the container. Volumes stay.

        Raises
        ------
        InvalidInput, NotFound, Conflict, Unsupported
            naming what cannot be; then nothing has changed.
        StartFailed
            when it cannot be started so.
        """
        wanted = Changes(_pairs(env_add), env_rm, _pairs(label_add), label_rm, mount_add, mount_rm)
        with self._owning(self.record(name)) as record:
            added = _added(record, wanted)
            kept = _kept(record, wanted)
            check = _changed(record, wanted, kept)  # what is wrong is said before it is stopped
            chains = [Digest(chain) for chain in check.chains]
            with mountpoints.prepare(self._parts, added, (), chains, ignore) as prepared:
                runs = self._status(record).running
                if runs:
                    self._stop(record, None, None)
                now = self._enter(record, wanted, kept, prepared)
                prepared.tell()
            if runs:
                self._begin_or_go_back(record, now)
        self._tell(now, "update")

    def _enter(
        self, record: ContainerRecord, wanted: Changes, kept: Sequence[MountPoint], prepared: mountpoints.Prepared
    ) -> ContainerRecord:
        points = tuple(sorted((*kept, *prepared.points), key=lambda point: point.target.count("/")))
        volumes = [point.volume for point in points if point.volume]

        def changed(current: ContainerRecord) -> ContainerRecord:
            return _changed(current, wanted, points)

        with self._parts.volumes.entering():
            prepared.place()
            return reuse(self._parts.state, record.id, changed, volumes=volumes, new_volumes=prepared.new)

    def _begin_or_go_back(self, before: ContainerRecord, now: ContainerRecord) -> None:
        """Start it as it is now, or put it back and start it as it was."""
        try:
            self._begin(now)
        except EngineError:

            def restored(current: ContainerRecord) -> ContainerRecord:
                same = {name: getattr(before, name) for name in ("env", "labels", "mounts", "options")}
                return msgspec.structs.replace(current, **same)

            volumes = [point.volume for point in before.mounts if point.volume]
            self._begin(reuse(self._parts.state, before.id, restored, volumes=volumes))
            raise


def _pairs(given: Mapping[str, str] | Sequence[str]) -> Sequence[str]:
    if isinstance(given, str):
        return (given,)
    return [f"{key}={value}" for key, value in given.items()] if hasattr(given, "items") else given


def _added(record: ContainerRecord, wanted: Changes) -> list[MountPoint]:
    """The mounts that are to come, none of them at a place that is taken."""
    long = [text for text in wanted.mount_add if "=" in text.partition(",")[0]]
    options = RunOptions(volume=tuple(text for text in wanted.mount_add if text not in long), mount=tuple(long))

    def find(name: str) -> ContainerRecord:
        raise Unsupported(f"the mounts of {name} cannot be taken over here")

    points = mountpoints.read(options, find)
    taken = {point.target for point in record.mounts} - {mounts.place(path, path) for path in wanted.mount_rm}
    for point in points:
        if point.target in taken:
            raise Conflict(f"something is mounted on {point.target} already", hint=f"--mount-rm {point.target}")
    return points


def _kept(record: ContainerRecord, wanted: Changes) -> list[MountPoint]:
    gone = {mounts.place(path, path): path for path in wanted.mount_rm}
    missing = set(gone) - {point.target for point in record.mounts}
    if missing:
        raise NotFound(f"nothing is mounted on {min(missing)} in {record.name}", hint="'inspect' lists its mounts")
    return [point for point in record.mounts if point.target not in gone]


def _changed(record: ContainerRecord, wanted: Changes, points: Sequence[MountPoint]) -> ContainerRecord:
    added = resolve_environment(list(wanted.env_add))
    env = merge_environment(record.env, added)
    labels = {**record.labels, **split_pairs(wanted.label_add)}
    _check_there({text.partition("=")[0] for text in env}, wanted.env_rm, "variable")
    _check_there(labels, wanted.label_rm, "label")
    return msgspec.structs.replace(
        record,
        env=tuple(text for text in env if text.partition("=")[0] not in wanted.env_rm),
        labels={name: value for name, value in labels.items() if name not in wanted.label_rm},
        mounts=tuple(points),
        options=_options(record.options, wanted, added),
    )


def _check_there(there: Collection[str], names: Sequence[str], what: str) -> None:
    if missing := set(names) - set(there):
        raise InvalidInput(f"there is no {what} {min(missing)!r} to be removed")


def _options(options: RunOptions, wanted: Changes, added: Sequence[str]) -> RunOptions:
    """The options as if it had been run with the changes."""
    long = tuple(text for text in wanted.mount_add if "=" in text.partition(",")[0])
    env = [text for text in (*options.env, *added) if text.partition("=")[0] not in wanted.env_rm]
    labels = [text for text in (*options.label, *wanted.label_add) if text.partition("=")[0] not in wanted.label_rm]
    changes: dict[str, Any] = {
        "env": tuple(merge_environment(env)) if env else (),
        "label": tuple(labels),
        "volume": (*options.volume, *(text for text in wanted.mount_add if text not in long)),
        "mount": (*options.mount, *long),
    }
    return msgspec.structs.replace(options, **changes)
