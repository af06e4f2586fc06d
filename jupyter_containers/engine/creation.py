"""Making a container, starting it, and taking it away again: in an order that a crash at any point can be cleaned up.

Create: the row in the state file first (the name is taken), then the directory. Remove: the directory first, then
the row. A directory without a row is garbage, a row is the truth.
"""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

import msgspec

from jupyter_containers.engine import networking
from jupyter_containers.engine.launcher import Plan, write_file
from jupyter_containers.engine.options import merge_environment, resolve_environment, split_pairs
from jupyter_containers.engine.record import ContainerRecord, new_id, random_name
from jupyter_containers.engine.spec import DEFAULT_PATH, make_resources, sandboxing
from jupyter_containers.errors import InvalidInput, NameInUse
from jupyter_containers.oci.names import Digest, Platform
from jupyter_containers.state import ContainerRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_containers.engine.options import RunOptions
    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.events import EventSink
    from jupyter_containers.images.model import Image as ImageModel
    from jupyter_containers.runtime.handle import Process

NAME_ATTEMPTS = 20


def create(
    parts: Parts, image: str, command: Sequence[str] | None, options: RunOptions, sink: EventSink
) -> ContainerRecord:
    """Get the image, decide everything, and enter the container in the state file.

    Everything that can be refused is refused here, before anything is made.
    """
    platform = Platform.parse(options.platform) if options.platform else None
    row, model = parts.library.obtain(image, platform=platform, pull=options.pull, sink=sink)
    isolation = sandboxing(options, guards_devices=parts.host.guards_devices)
    resources = make_resources(options, privileged=isolation.privileged)
    network, notices = networking.choose(parts, options.network)
    chains = parts.library.unpack(model, sink=sink)
    settings = model.settings
    identity = new_id()
    record = ContainerRecord(
        id=identity,
        name=options.name or random_name(),
        image=str(image),
        image_id=row.image_id,
        digest=row.digest,
        created=time.time_ns(),
        args=_arguments(model, command, options, image),
        env=tuple(_environment(model, options, options.hostname or identity[:12])),
        cwd=options.workdir or settings.working_dir or "/",
        user=options.user if options.user is not None else settings.user or "",
        hostname=options.hostname or identity[:12],
        network=network,
        chains=tuple(str(chain) for chain in chains),
        labels={**(settings.labels or {}), **split_pairs(options.label)},
        stop_signal=options.stop_signal or settings.stop_signal or "SIGTERM",
        stop_timeout=10 if options.stop_timeout is None else options.stop_timeout,
        memory_limit=resources.get("memory", {}).get("limit"),
        notices=tuple(notices),
        options=options,
    )
    return _enter(parts, record)


def _enter(parts: Parts, record: ContainerRecord) -> ContainerRecord:
    for attempt in range(NAME_ATTEMPTS):
        try:
            parts.state.add_container(
                ContainerRow(record.id, record.name, record.digest, record.created, record.encode())
            )
        except NameInUse:
            if record.options.name or attempt == NAME_ATTEMPTS - 1:
                raise
            record = msgspec.structs.replace(record, name=f"{random_name()}{attempt or ''}")
        else:
            return record
    raise AssertionError("unreachable: the last attempt raises")


def _arguments(model: ImageModel, command: Sequence[str] | None, options: RunOptions, image: str) -> tuple[str, ...]:
    """Entry point and command: an entry point given anew drops the image's command."""
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
    return args


def _environment(model: ImageModel, options: RunOptions, hostname: str) -> list[str]:
    image = model.settings.env or []
    defaults = [DEFAULT_PATH, f"HOSTNAME={hostname}", *(["TERM=xterm"] if options.tty else [])]
    return merge_environment(defaults, image, resolve_environment(options.env))


# -- starting --------------------------------------------------------------------------------------------------------


def start(parts: Parts, record: ContainerRecord, stdio: tuple[int | None, int | None, int | None]) -> Process:
    """Start a container with these descriptors as its input and output; also kept in its log.

    Raises
    ------
    StartFailed
        naming the step.
    """
    directory = parts.paths.containers / record.id
    run = parts.paths.running / record.id
    directory.mkdir(mode=0o711, parents=True, exist_ok=True)
    run.mkdir(mode=0o711, parents=True, exist_ok=True)
    (run / "rootfs").mkdir(mode=0o711, exist_ok=True)
    chains = [Digest(chain) for chain in record.chains]
    scratch = parts.snapshotter.prepare(chains, directory=directory)
    attachment = networking.attach(parts, record)
    if attachment:
        record = msgspec.structs.replace(record, address=attachment.address)
        parts.state.update_container(record.id, record.encode())
    files = {}
    for place, name, data in networking.files(record, attachment):
        write_file(run / name, data)
        files[place] = str(run / name)
    plan = Plan(
        id=record.id,
        args=record.args,
        env=record.env,
        cwd=record.cwd,
        user=record.user,
        hostname=record.hostname,
        network=record.network,
        options=record.options,
        sandboxing=sandboxing(record.options, guards_devices=parts.host.guards_devices),
        root=str(run / "rootfs"),
        rootfs=parts.snapshotter.mounts(chains, scratch, volatile=record.options.remove),
        files=files,
        interfaces=attachment.interfaces if attachment else (),
    )
    request = parts.planner.request(plan)
    request["run_dir"] = str(run)
    request["state_dir"] = str(directory)
    request["log"] = {"path": str(directory / "log.json")}
    request["open_stdin"] = record.options.interactive
    request["stdin_once"] = not record.options.detach
    request["detach"] = record.options.detach
    request["hold"] = networking.connects_late(record)
    return parts.spawner.launch(request, *stdio, created=networking.connect)


def start_detached(parts: Parts, record: ContainerRecord) -> None:
    """Start a container whose output goes to its log only."""
    start(parts, record, (None, None, None)).close()


# -- removing --------------------------------------------------------------------------------------------------------


def discard(parts: Parts, record: ContainerRecord) -> None:
    """Take away a container that does not run: directories, address, row. Idempotent."""
    shutil.rmtree(parts.paths.running / record.id, ignore_errors=True)
    directory = parts.paths.containers / record.id
    if os.path.lexists(directory):
        parts.trees.remove(directory)
    parts.state.remove_container(record.id)
