"""Images out of containers, and out of archives: ``diff``, ``commit`` and ``import``."""

from __future__ import annotations

import posixpath
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, Final

import msgspec

from jupyter_containers.build import remote
from jupyter_containers.build import settings as dockerfile_settings
from jupyter_containers.build.cancel import CancelToken
from jupyter_containers.build.dockerfile import instructions, parse_trigger
from jupyter_containers.build.dockerfile.substitute import expand_instruction
from jupyter_containers.engine.images import Image, image_of
from jupyter_containers.errors import InvalidInput, LayerCorrupt, NotFound
from jupyter_containers.images import mutate
from jupyter_containers.layers.compression import decompressor
from jupyter_containers.oci.image_spec import OCI_LAYER, ContainerConfig, Descriptor, History, ImageConfig
from jupyter_containers.oci.names import Digest, Platform, Reference, chain_id

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.engine.record import ContainerRecord
    from jupyter_containers.images.model import Image as ImageModel
    from jupyter_containers.layers.base import Change

MOUNTED: Final = ("/dev", "/proc", "/sys", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf")
"""Where something is mounted in every container: an empty file or directory there was made for that."""

_CHANGES: Final = (
    instructions.Cmd,
    instructions.Entrypoint,
    instructions.Env,
    instructions.Expose,
    instructions.Healthcheck,
    instructions.Label,
    instructions.Onbuild,
    instructions.Stopsignal,
    instructions.User,
    instructions.Volume,
    instructions.Workdir,
)
_PIECE: Final = 1 << 20


# -- what a container changed ----------------------------------------------------------------------------------------


def changes(parts: Parts, record: ContainerRecord) -> list[Change]:
    """What a container changed of its image's files."""
    directory = parts.paths.containers / record.id
    if not (directory / "work").exists():
        return []  # it was never started
    scratch = parts.snapshotter.attach([Digest(chain) for chain in record.chains], directory)
    return parts.snapshotter.changes(scratch, exclude=mount_places(parts, record))


def mount_places(parts: Parts, record: ContainerRecord) -> frozenset[str]:
    """Paths, relative to the root, that may be there only so that something could be mounted on them."""
    directories = [parts.paths.containers / record.id / "upper"]
    directories += parts.snapshotter.layer_dirs([Digest(chain) for chain in record.chains])
    places = list(MOUNTED)
    for point in record.mounts:
        places.append(point.target)
        with suppress(NotFound):  # through the links of the image
            places.append("/" + parts.trees.walk(directories, point.target, recursive=False)[0].path)
    found = set()
    for place in places:
        path = place.strip("/")
        while path:
            found.add(path)
            path = posixpath.dirname(path)
    return frozenset(found)


# -- commit ----------------------------------------------------------------------------------------------------------


def commit(
    parts: Parts,
    record: ContainerRecord,
    name: str | None,
    *,
    author: str | None,
    message: str | None,
    given: Sequence[str],
) -> Image:
    """Make what a container changed one more layer on its image; the container stands still meanwhile, or is read as
    it goes on.
    """
    reference = _name(name)
    apply_changes(ContainerConfig(), given)  # what is wrong is said before any work
    row = parts.state.image(record.digest)
    if row is None:
        raise NotFound(f"the image {record.image} of the container {record.name} is gone", hint="export it instead")
    with parts.store.lock(exclusive=False):
        model = parts.library.read(row)
        settings = apply_changes(_settings(record, model.settings), given)
        directory = parts.paths.containers / record.id
        chains = [Digest(chain) for chain in record.chains]
        if (directory / "work").exists():
            scratch = parts.snapshotter.attach(chains, directory)
            exclude = mount_places(parts, record)
        else:
            scratch, exclude = None, frozenset[str]()
        with parts.store.ingest() as blob:
            if scratch is None:
                written = parts.trees.pack((), blob)
            else:
                written = parts.snapshotter.diff(scratch, blob, exclude=exclude)
            digest = blob.commit()
        layer = Descriptor(OCI_LAYER, digest, written.size)
        parts.snapshotter.unpack(_chain(chains, digest), parts.store.path(digest), diff_id=digest, parents=chains)
        entry = History(
            created=mutate.timestamp(time.time()),
            created_by=" ".join(settings.cmd or ()),
            author=author or None,
            comment=message or None,
        )
        return _enter(parts, model, layer, settings, entry, reference)


def _chain(below: Sequence[Digest], digest: Digest) -> Digest:
    return Digest.of(f"{below[-1]} {digest}".encode()) if below else chain_id([digest])


def _enter(
    parts: Parts,
    model: ImageModel,
    layer: Descriptor,
    settings: ContainerConfig,
    entry: History,
    reference: Reference | None,
) -> Image:
    config = model.config
    if not config.history and config.rootfs.diff_ids:
        below = [History(created=config.created) for _layer in config.rootfs.diff_ids]
        config = msgspec.structs.replace(config, history=below)
    config = mutate.append_layer(config, Digest(layer.digest), entry)
    config = msgspec.structs.replace(config, config=settings, author=entry.author)
    layers = [*(each.descriptor for each in model.layers), layer]
    return _record(parts, config, layers, reference)


def _record(parts: Parts, config: ImageConfig, layers: Sequence[Descriptor], reference: Reference | None) -> Image:
    descriptor = mutate.write_image(parts.store, config, layers)
    row = parts.library.record(descriptor, [reference] if reference else [])
    return image_of(row, parts.library.read(row))


def _name(name: str | None) -> Reference | None:
    if not name:
        return None
    reference = Reference.parse(name)
    if reference.digest is not None:
        raise InvalidInput(f"invalid name {name!r}: an image is given a name, not a digest")
    return reference


def _settings(record: ContainerRecord, image: ContainerConfig) -> ContainerConfig:
    """How the container was started, as far as an image says that: what this host added is left out."""
    options = record.options
    entrypoint = list(image.entrypoint or ())
    if options.entrypoint is not None:
        given = [options.entrypoint] if isinstance(options.entrypoint, str) else list(options.entrypoint)
        entrypoint = [part for part in given if part]
    names = {text.partition("=")[0] for text in (*(image.env or ()), *options.env)} | {"PATH"}
    volumes = {*(image.volumes or ()), *(point.target for point in record.mounts if point.anonymous)}
    return msgspec.structs.replace(
        image,
        entrypoint=entrypoint or None,
        cmd=list(record.args[len(entrypoint) :]) or None,
        env=[text for text in record.env if text.partition("=")[0] in names] or None,
        user=record.user or None,
        working_dir=record.cwd if options.workdir else image.working_dir,
        labels=dict(record.labels) or None,
        exposed_ports={port: {} for port in record.exposed} or None,
        volumes={place: {} for place in sorted(volumes)} or None,
        stop_signal=options.stop_signal or image.stop_signal,
        healthcheck=record.health,
        on_build=None,
    )


def apply_changes(settings: ContainerConfig, given: Sequence[str]) -> ContainerConfig:
    """The settings after instructions of a Dockerfile, each a text.

    Raises
    ------
    DockerfileError, InvalidInput
        for one that cannot be read, or that changes no settings.
    """
    cmd_given = False
    for text in given:
        instruction = parse_trigger(text, name="--change")
        if not isinstance(instruction, _CHANGES):
            known = ", ".join(kind.__name__.upper() for kind in _CHANGES)
            raise InvalidInput(f"--change cannot have {instruction.keyword}", hint=f"it takes {known}")
        scope = dict(dockerfile_settings.split_variable(entry) for entry in settings.env or ())
        expanded = expand_instruction(instruction, scope)
        match expanded:
            case instructions.Workdir():
                path = dockerfile_settings.absolute(settings.working_dir or "/", expanded.path, keep_slash=False)
                settings = msgspec.structs.replace(settings, working_dir=path)
            case instructions.Onbuild():
                triggers = [*(settings.on_build or ()), expanded.trigger]
                settings = msgspec.structs.replace(settings, on_build=triggers)
            case _:
                settings = dockerfile_settings.apply(settings, expanded, cmd_given=cmd_given)
                cmd_given = cmd_given or isinstance(expanded, instructions.Cmd)
    return settings


# -- import ----------------------------------------------------------------------------------------------------------


@contextmanager
def fetched(parts: Parts, archive: BinaryIO | str | os.PathLike[str]) -> Iterator[BinaryIO | str | os.PathLike[str]]:
    """What an archive is read from: itself or, for an address, what is there, as long as it is needed.

    Raises
    ------
    NotFound, FetchFailed
        when it cannot be fetched.
    """
    if not isinstance(archive, str) or not remote.is_url(archive):
        yield archive
        return
    with parts.snapshotter.prepare(()) as scratch:
        directory = remote.Downloads(lambda: scratch.directory, {}, CancelToken()).file(archive)
        yield next(directory.iterdir())


def load_archive(
    parts: Parts,
    archive: BinaryIO,
    name: str | None,
    *,
    source: str,
    message: str | None,
    given: Sequence[str],
    platform: str | None,
) -> Image:
    """Make a tar archive of a file system, compressed or not, an image of one layer; all of it or nothing."""
    reference = _name(name)
    wanted = Platform.parse(platform) if platform else parts.library.platform
    settings = apply_changes(ContainerConfig(), given)
    source = remote.without_user(source) if remote.is_url(source) else source
    with parts.store.lock(exclusive=False):
        stream = decompressor(archive)
        with parts.store.ingest() as blob:
            size = 0
            while data := stream.read(_PIECE):
                blob.write(data)
                size += len(data)
            if not size:
                raise InvalidInput(f"the archive {source} is empty")
            digest = blob.commit()
        try:
            parts.snapshotter.unpack(chain_id([digest]), parts.store.path(digest), diff_id=digest, parents=[])
        except LayerCorrupt as error:
            parts.store.remove(digest)
            hint = "give the whole tar archive of a file system, plain or compressed"
            raise LayerCorrupt(f"{source} cannot be imported: {error.message}", hint=hint) from error
        except BaseException:
            parts.store.remove(digest)
            raise
        entry = History(
            created=mutate.timestamp(time.time()),
            comment=message or f"Imported from {source}",
        )
        config = mutate.append_layer(mutate.empty_config(wanted), digest, entry)
        config = mutate.set_container_config(config, settings)
        return _record(parts, config, [Descriptor(OCI_LAYER, digest, size)], reference)
