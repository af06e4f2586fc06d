"""Making a container, starting it, and taking it away again: in an order that a crash at any point can be cleaned up.

Create: the row in the state file first (the name is taken), then the directory. Remove: the directory first, then
the row; for a container that was run to be thrown away the other way round, and the directory later. A directory
without a row is garbage, a row is the truth.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from jupyter_containers.engine import status, supervision
from jupyter_containers.engine import volumes as volumes_of
from jupyter_containers.engine.launch import (
    devices,
    health,
    isolation,
    limits,
    mountpoints,
    namespaces,
    runtimes,
    watching,
)
from jupyter_containers.engine.launch.launcher import Plan
from jupyter_containers.engine.launch.spec import DEFAULT_PATH
from jupyter_containers.engine.move import mark as move_mark
from jupyter_containers.engine.network import networking
from jupyter_containers.engine.network import service as network_service
from jupyter_containers.engine.options import merge_environment, resolve_environment, split_pairs
from jupyter_containers.engine.record import ContainerRecord, change, new_id, random_name
from jupyter_containers.engine.small_files import clear_away
from jupyter_containers.errors import (
    Conflict,
    ContainerNotFound,
    ContainerNotRunning,
    InvalidInput,
    NameInUse,
    NotFound,
    SystemFailure,
    Unsupported,
)
from jupyter_containers.network import ports
from jupyter_containers.oci.names import Digest, Platform
from jupyter_containers.runtime import lifecycle
from jupyter_containers.state import ContainerRow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jupyter_containers.engine.container.sessions import Session
    from jupyter_containers.engine.options import RunOptions
    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.events import EventSink
    from jupyter_containers.images.model import Image as ImageModel
    from jupyter_containers.oci.runtime_spec import Resources
    from jupyter_containers.runtime.handle import Process
    from jupyter_containers.runtime.protocol import Restore
    from jupyter_containers.snapshots.base import Scratch

NAME_ATTEMPTS = 20
DISCARDED = "discarded"
"""A file of this name in a container's run directory says that it is being removed: who finds it goes on with that."""


def create(
    parts: Parts,
    image: str,
    command: Sequence[str] | None,
    options: RunOptions,
    sink: EventSink,
    identity: str | None = None,
) -> ContainerRecord:
    """Get the image, decide everything, and enter the container in the state file.

    Everything that can be refused is refused here, before anything is made. ``identity`` is the id that a caller owns
    who is going to start it at once: its directory is there before its row is, so that a start that is cut off shows.
    """
    platform = Platform.parse(options.platform) if options.platform else None
    row, model = parts.library.obtain(image, platform=platform, pull=options.pull, sink=sink)
    network, places, notices = networking.choose(parts, options, lambda name: _other(parts, name).id)
    options, resources, dropped = decide(parts, options, network)
    points = mountpoints.read(options, lambda name: _other(parts, name))
    chains = parts.library.unpack(model, sink=sink)
    settings = model.settings
    exposed = tuple(ports.exposed((*(settings.exposed_ports or ()), *options.expose)))
    published = ports.of_options(options.publish, exposed, publish_all=options.publish_all)
    if network == "host" and published:
        notices.append("published ports are discarded with --network host: its ports are the host's")
    elif published and not places:
        raise Unsupported(
            f"port {published[0].key} cannot be published: {notices[0] if notices else 'the container has no network'}",
            hint="--network host gives it the host's ports",
        )
    args, count = arguments(model, command, options, image)
    own, identity = identity, identity or new_id()
    record = ContainerRecord(
        id=identity,
        name=options.name or random_name(),
        image=str(image),
        image_id=row.image_id,
        digest=row.digest,
        created=time.time_ns(),
        args=args,
        entrypoint=count,
        env=tuple(_environment(model, options, options.hostname or identity[:12])),
        cwd=options.workdir or settings.working_dir or "/",
        user=options.user if options.user is not None else settings.user or "",
        hostname=options.hostname or identity[:12],
        network=network,
        endpoints=places,
        exposed=exposed,
        ports=() if network == "host" else tuple(published),
        chains=tuple(str(chain) for chain in chains),
        labels={**(settings.labels or {}), **split_pairs(options.label)},
        stop_signal=options.stop_signal or settings.stop_signal or "SIGTERM",
        stop_timeout=10 if options.stop_timeout is None else options.stop_timeout,
        health=health.merge(options, settings.healthcheck),
        memory_limit=resources.get("memory", {}).get("limit"),
        notices=(*notices, *dropped),
        options=options,
    )
    with mountpoints.prepare(parts, points, settings.volumes or (), chains, sink) as prepared:
        if own:
            (parts.paths.containers / own).mkdir(mode=0o711)
        record = _enter(parts, msgspec.structs.replace(record, mounts=prepared.points), prepared)
        prepared.tell()
    supervision.tell(parts, record, "create")
    return record


def decide(parts: Parts, options: RunOptions, network: str) -> tuple[RunOptions, Resources, list[str]]:
    """Read, and refuse, what the options say of isolation and limits.

    Returns the options with the contents of the files they name, the limits, and what the user should know of those.
    """
    options = msgspec.structs.replace(options, security_opt=isolation.with_profiles_read(options.security_opt))
    options = namespaces.settle(options, lambda name: _other(parts, name).id)
    namespaces.check_user(options, network, rootless=parts.host.rootless)
    runtimes.find(options, rootless=parts.host.rootless)
    sandboxing = isolation.sandboxing(options, guards_devices=parts.host.guards_devices)
    parts.planner.filter(sandboxing)
    parts.planner.filter_flags(sandboxing)
    limits.rlimits(options.ulimit)
    resources = limits.make_resources(options, devices.of(options))
    return options, resources, parts.host.check_limits(resources, drop=options.limits == "drop")


def _other(parts: Parts, name: str) -> ContainerRecord:
    """The record of another container whose namespaces are to be joined."""
    rows = parts.state.find_containers(name)
    if len(rows) > 1:
        raise Conflict(f"several containers have an id that begins with {name}", hint="give more of its digits")
    if not rows:
        raise ContainerNotFound(f"no such container: {name}", hint="'ps -a' lists what there is")
    return ContainerRecord.decode(rows[0].record)


def _namespaces(parts: Parts, record: ContainerRecord) -> namespaces.NamespaceSetup:
    """The namespaces of a container that is about to be started; those it shares belong to running containers."""

    def pid_of(identity: str) -> int:
        other = _other(parts, identity)
        namespaces.check_joinable(record.options, other.options, other.name)
        pid = status.read(parts.paths, other.id).pid
        if not pid:
            raise ContainerNotRunning(
                f"cannot join the namespaces of {other.name}: it is not running", hint=f"start {other.name} first"
            )
        if parts.host.rootless and not parts.spawner.reaches(pid):
            raise Unsupported(
                f"cannot join the namespaces of {other.name}: it was started with other subordinate ids",
                hint=f"restart {other.name}",
            )
        return pid

    id_map = parts.spawner.id_map if parts.host.rootless else None
    return namespaces.setup(record.options, record.network, id_map=id_map, pid_of=pid_of)


def _enter(parts: Parts, record: ContainerRecord, prepared: mountpoints.Prepared) -> ContainerRecord:
    if not prepared.new:
        return _add(parts, record, prepared)
    with parts.volumes.entering():
        prepared.place()
        return _add(parts, record, prepared)


def _add(parts: Parts, record: ContainerRecord, prepared: mountpoints.Prepared) -> ContainerRecord:
    for attempt in range(NAME_ATTEMPTS):
        try:
            parts.state.add_container(
                ContainerRow(record.id, record.name, record.digest, record.created, record.encode()),
                volumes=prepared.used,
                new_volumes=prepared.new,
            )
        except NameInUse:
            if record.options.name or attempt == NAME_ATTEMPTS - 1:
                raise
            record = msgspec.structs.replace(record, name=f"{random_name()}{attempt or ''}")
        else:
            return record
    raise AssertionError("unreachable: the last attempt raises")


def arguments(
    model: ImageModel, command: Sequence[str] | None, options: RunOptions, image: str
) -> tuple[tuple[str, ...], int]:
    """Entry point and command, and how many words the entry point has; one given anew drops the image's command."""
    settings = model.settings
    if options.entrypoint is None:
        entrypoint = tuple(settings.entrypoint or ())
        rest = tuple(command) if command else tuple(settings.cmd or ())
    else:
        given = (options.entrypoint,) if isinstance(options.entrypoint, str) else options.entrypoint
        entrypoint = tuple(part for part in given if part)
        rest = tuple(command or ())
    if not (args := (*entrypoint, *rest)):
        raise InvalidInput(
            f"no command: neither the image {image} nor the call names one", hint="add one after the image"
        )
    return args, len(entrypoint)


def _environment(model: ImageModel, options: RunOptions, hostname: str) -> list[str]:
    image = model.settings.env or []
    defaults = [DEFAULT_PATH, f"HOSTNAME={hostname}", *(["TERM=xterm"] if options.tty else [])]
    return merge_environment(defaults, image, resolve_environment(options.env))


# -- starting --------------------------------------------------------------------------------------------------------


def start(
    parts: Parts,
    record: ContainerRecord,
    stdio: tuple[int | None, int | None, int | None],
    *,
    detach: bool | None = None,
    size: tuple[int, int] | None = None,
    restore: Restore | None = None,
) -> Process:
    """Start a container with these descriptors as its input and output; also kept in its log.

    ``detach``: it outlives this process; by default as its options say, or when a policy starts it again. ``size``
    is that of its terminal: rows and columns. ``restore``: it goes on from a state that was taken elsewhere.

    Raises
    ------
    StartFailed
        naming the step.
    """
    move_mark.check(parts.paths.root, record.id, record.name)
    setup = _namespaces(parts, record)
    directory = parts.paths.containers / record.id
    _end_last_run(parts, record)
    run = parts.paths.running / record.id
    for made in (directory, run):
        with suppress(FileExistsError):
            made.mkdir(mode=0o711)
    chains = [Digest(chain) for chain in record.chains]
    scratch = writable(parts, chains, directory)
    with networking.using(parts, record.endpoints):
        return _launch(parts, record, stdio, (chains, setup, scratch), detach=detach, size=size, restore=restore)


def _launch(
    parts: Parts,
    record: ContainerRecord,
    stdio: tuple[int | None, int | None, int | None],
    prepared: tuple[Sequence[Digest], namespaces.NamespaceSetup, Scratch],
    *,
    detach: bool | None,
    size: tuple[int, int] | None,
    restore: Restore | None,
) -> Process:
    """The half of :func:`start` during which its networks have to stay."""
    chains, setup, scratch = prepared
    record, attachments = networking.attach(parts, record)
    if attachments:
        places = record.endpoints
        record = change(parts.state, record.id, lambda current: networking.with_endpoints(current, places))
    plan = Plan(
        id=record.id,
        args=record.args,
        env=record.env,
        cwd=record.cwd,
        user=record.user,
        hostname=record.hostname,
        network=record.network,
        options=record.options,
        sandboxing=isolation.sandboxing(record.options, guards_devices=parts.host.guards_devices),
        root=str(parts.paths.mountpoint),
        rootfs=setup.root(parts.snapshotter.mounts(chains, scratch, volatile=record.options.remove)),
        extra_mounts=mountpoints.make(parts, record, mapped=setup.remaps),
        interfaces=[interface for each in attachments for interface in each.interfaces],
        devices=devices.of(record.options),
        setup=setup,
    )
    request = parts.planner.request(plan)
    supervision.supervise(parts, record, request)
    request["detach"] = record.options.detach or "restart" in request if detach is None else detach
    covered = {mount["destination"] for mount in request["spec"]["mounts"]}
    files = networking.files(parts, record)
    request["files"] = {place: data for place, data in files.items() if place not in covered}
    request["hold"] = restore is None and network_service.needed(parts, record)
    if restore is not None:
        request["restore"] = restore
    if attachments and (outer := parts.network_namespace.path):
        request["outer_network"] = outer
    if size:
        request["spec"]["process"]["consoleSize"] = {"height": size[0], "width": size[1]}

    def created(pid: int) -> None:
        if network_service.needed(parts, record):
            network_service.serve(parts, record, pid)

    watcher = watching.CURRENT.get()
    if watcher is not None:
        watcher.prepare(request, record)
    process = parts.spawner.launch(request, *stdio, created=created, watcher=watcher)
    if restore is not None:  # nothing can be held back until its network is served
        created(process.pid)
    return process


def _end_last_run(parts: Parts, record: ContainerRecord) -> None:
    """See to it that nothing is left of a container that has ended, though its monitor was killed."""
    directory, run = str(parts.paths.containers / record.id), str(parts.paths.running / record.id)
    if not lifecycle.await_monitor(directory):
        lifecycle.kill_leftovers(run, directory, parts.host.cgroup_of(record.id, record.options.cgroup_parent))


def renew_work(parts: Parts, record: ContainerRecord) -> None:
    """Let a container that was to be thrown away be mounted again.

    A volatile overlay refuses a work directory that was used so; the kernel makes a new one in it.
    """
    used = parts.paths.containers / record.id / "work" / "work"
    if record.options.remove and os.path.lexists(used):
        parts.trees.remove(used)


def writable(parts: Parts, chains: Sequence[Digest], directory: Path) -> Scratch:
    """The container's writable layer: what it was when it ended last, or a new one."""
    if (directory / "work").exists():
        return parts.snapshotter.attach(chains, directory)
    if os.path.lexists(directory / "upper"):  # of a start that was cut off before anything ran
        parts.trees.remove(directory / "upper")
    return parts.snapshotter.prepare(chains, directory=directory)


def start_detached(parts: Parts, record: ContainerRecord) -> None:
    """Start a container whose output goes to its log only."""
    start(parts, record, (None, None, None)).close()


# -- removing --------------------------------------------------------------------------------------------------------


def discard(parts: Parts, record: ContainerRecord, *, volumes: bool = False) -> None:
    """Take away a container that does not run: directories, address, row. Idempotent.

    Its anonymous volumes go too where ``volumes`` or its options (``--rm``) say so and no other container uses them.
    """
    directory = parts.paths.containers / record.id
    _end_last_run(parts, record)
    mark = parts.paths.running / record.id / DISCARDED
    with suppress(FileNotFoundError):  # nobody has owned it
        mark.touch()
    try:
        parts.trees.remove(directory)
    except NotFound:  # it was never started, or another engine removes it too
        pass
    except BaseException:
        if os.path.lexists(directory):  # else whoever removes it has died once it was gone
            mark.unlink(missing_ok=True)
        raise
    _forget(parts, record, volumes=volumes)


def abandon(parts: Parts, identity: str) -> None:
    """Take away what was made for a container that could not be created, with the row if it came so far."""
    parts.state.remove_container(identity)
    for directory in (parts.paths.containers / identity, parts.paths.running / identity):
        clear_away(directory)


def throw_away(parts: Parts, record: ContainerRecord, session: Session) -> None:
    """Take away a container that has ended; what its monitor and its directories take goes while nobody waits."""
    try:
        _forget(parts, record, volumes=True)
    except SystemFailure:  # the disk is full, perhaps of what it wrote
        session.close()
        discard(parts, record, volumes=True)
        return
    parts.remover.put(session, (parts.paths.running / record.id, parts.paths.containers / record.id))


def _forget(parts: Parts, record: ContainerRecord, *, volumes: bool) -> None:
    own = [point.volume for point in record.mounts if point.anonymous] if volumes or record.options.remove else []
    for identity in parts.state.remove_container(record.id, volumes=own):
        parts.volumes.remove(identity)
        volumes_of.tell(parts, "destroy", identity)
    # Last, for by this directory the next command finds a removal that was cut off.
    clear_away(parts.paths.running / record.id)
    supervision.tell(parts, record, "destroy")
