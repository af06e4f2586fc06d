"""``engine.images``: everything about images."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, BinaryIO

from jupyter_containers.engine import supervision
from jupyter_containers.engine.views import HistoryEntry, ImageSummary, LayerSummary
from jupyter_containers.errors import Conflict, ImageNotFound, InvalidInput
from jupyter_containers.events import ignore
from jupyter_containers.oci.image_spec import encode
from jupyter_containers.oci.names import Digest, Platform, Reference
from jupyter_containers.records import dataclass, field

if TYPE_CHECKING:
    import builtins
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from typing import Unpack

    from jupyter_containers.build.options import BuildResult
    from jupyter_containers.engine.build.inputs import ContextSource
    from jupyter_containers.engine.build.keywords import BuildKeywords
    from jupyter_containers.engine.files.image_files import ImageFiles
    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.engine.views import PruneReport
    from jupyter_containers.events import EventSink
    from jupyter_containers.images.model import Image as ImageModel
    from jupyter_containers.oci.image_spec import Descriptor
    from jupyter_containers.state import ImageRow

_NO_SETTINGS: dict[str, Any] = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": None,
    "Cmd": None,
    "Image": "",
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": None,
}
"""What Docker's ``inspect`` shows of an image that says nothing: templates name these fields."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image of the store. ``build`` says how it was made, where a build made it just now."""

    id: Digest
    digest: Digest
    names: tuple[str, ...]
    created: datetime | None
    size: int
    labels: Mapping[str, str]
    command: tuple[str, ...]
    platform: str
    build: BuildResult | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Its first name, or the beginning of its id."""
        return self.names[0] if self.names else self.id.short

    def __str__(self) -> str:
        """The name, as commands take it."""
        return self.name


class Images:
    """The images of an engine. All methods block and are thread-safe."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._library = parts.library

    def pull(self, name: str, *, platform: str | None = None, sink: EventSink = ignore) -> Image:
        """Fetch an image from its registry, or make an embedded one, and unpack it.

        Raises
        ------
        ImageNotFound, RegistryDenied, RegistryUnavailable
            when it cannot be had.
        """
        wanted = Platform.parse(platform) if platform else self._library.platform
        row = self._library.fetch(Reference.parse(name), platform=wanted, sink=sink)
        model = self._library.read(row)
        if wanted.matches(self._library.platform):
            self._library.unpack(model, sink=sink)
        return image_of(row, model)

    def push(self, name: str, *, sink: EventSink = ignore) -> Descriptor:
        """Bring an image to the registry that its name says; digest and size of what it is there.

        Layers, which are plain here, are compressed on the way: the digest there is another one, the id is the same.

        Raises
        ------
        ImageNotFound, InvalidInput
            when no image has this name, or it is one that is made on each machine.
        RegistryDenied, RegistryUnavailable
            as the registry answers.
        """
        from jupyter_containers.images import starter  # noqa: PLC0415 - seldom used

        reference = Reference.parse(name)
        row = self._library.find(name)
        if f"{reference.name}:{reference.tag}" not in row.names:
            raise ImageNotFound(
                f"no image here has the name {reference.familiar}", hint=f"give it one: tag {name} REGISTRY/NAME:TAG"
            )
        if starter.is_starter(reference):
            raise InvalidInput(
                f"{reference.familiar} is made on each machine", hint=f"give it another name: tag {name} REGISTRY/NAME"
            )
        return self._library.push(row, reference, sink=sink)

    def build(self, path: ContextSource | None = None, **given: Unpack[BuildKeywords]) -> Image:
        """Build an image; see :meth:`.builds.Builds.build`."""
        from jupyter_containers.engine.builds import Builds  # noqa: PLC0415 - the builder is not always needed

        return Builds(self._parts).build(path, **given)

    def import_archive(
        self,
        archive: BinaryIO | str | os.PathLike[str],
        name: str | None = None,
        *,
        message: str | None = None,
        change: Sequence[str] = (),
        platform: str | None = None,
    ) -> Image:
        """Make an image of one layer of a file system's tar archive, compressed or not.

        Parameters
        ----------
        archive
            An open file, a path, or an ``http://`` or ``https://`` address, which is fetched first.
        name
            The name of the image; without one it is known by its id.
        message
            For its history.
        change
            Instructions of a Dockerfile for how containers of it are started: ``CMD ["serve"]``, ``ENV A=1`` ...

        Raises
        ------
        LayerCorrupt, InvalidInput, DockerfileError, NotFound, Unavailable
            when the archive is damaged or cannot be had, or an argument is wrong; then there is no image.
        """
        from jupyter_containers.engine.files import committing  # noqa: PLC0415 - seldom used
        from jupyter_containers.engine.small_files import opened  # noqa: PLC0415 - the same

        source = os.fspath(archive) if isinstance(archive, str | os.PathLike) else "-"
        with committing.fetched(self._parts, archive) as file, opened(file, "rb") as stream:
            image = committing.load_archive(
                self._parts,
                stream,
                name,
                source="-" if source == "/dev/stdin" else source,
                message=message,
                given=tuple(change),
                platform=platform,
            )
        supervision.tell_of(self._parts, "image", "import", str(image.id), name=str(image.id))
        return image

    def list(self, *, all: bool = False) -> builtins.list[ImageSummary]:  # noqa: A002 - docker's flag
        """The images, newest first, a row for each name; ``all`` shows those without a name too.

        An image whose documents were lost has a row without date and size, so that it can be found and removed.
        """
        rows: builtins.list[ImageSummary] = []
        for row in self._parts.state.images():
            if not row.names and not all:
                continue
            model = self._library.read_or_none(row)
            names: builtins.list[Reference | None] = [Reference.parse(name) for name in row.names]
            rows.extend(
                ImageSummary(
                    repository=reference.familiar_name if reference else None,
                    tag=reference.tag if reference else None,
                    id=Digest(row.image_id),
                    digest=Digest(row.digest),
                    created=model.created if model else None,
                    size=self._size(model) if model else 0,
                    labels=dict(model.labels) if model else {},
                    layers=model.chain_ids if model else (),
                )
                for reference in names or [None]
            )
        return rows

    def _size(self, model: ImageModel) -> int:
        """The bytes of its files, or of its blobs as long as it is not unpacked."""
        infos = [self._parts.snapshotter.info(chain) for chain in model.chain_ids]
        sizes = [info.bytes for info in infos if info is not None]
        return sum(sizes) if len(sizes) == len(infos) else model.size

    def get(self, name: str) -> Image:
        """One image by name, id or the beginning of its id."""
        row = self._library.find(name)
        return image_of(row, self._library.read(row))

    def tag(self, source: str, target: str) -> Image:
        """Give an image another name; a name that another image had moves to this one."""
        row = self._library.find(source)
        reference = Reference.parse(target)
        if reference.digest is not None:
            raise InvalidInput(f"invalid tag {target!r}: an image is tagged by name, not by digest")
        model = self._library.read(row)
        return image_of(self._library.record(model.descriptor, [reference]), model)

    def history(self, name: str) -> builtins.list[HistoryEntry]:
        """The steps that made an image, newest first."""
        model = self._library.read(self._library.find(name))
        entries = []
        for position, step in enumerate(reversed(model.history)):
            info = self._parts.snapshotter.info(step.layer.chain_id) if step.layer else None
            entries.append(
                HistoryEntry(
                    id=model.id if position == 0 else None,
                    created=step.created,
                    created_by=step.created_by,
                    size=info.bytes if info else (step.layer.size if step.layer else 0),
                    comment=step.comment,
                    empty_layer=step.layer is None,
                )
            )
        return entries

    def layers(self, name: str) -> builtins.list[LayerSummary]:
        """The layers of an image, bottom first, each with the step that made it."""
        model = self._library.read(self._library.find(name))
        users: dict[Digest, int] = {}
        for row in self._parts.state.images():
            for chain in self._library.read(row).chain_ids:
                users[chain] = users.get(chain, 0) + 1
        steps = [step for step in model.history if step.layer is not None]
        layers = []
        for index, (layer, step) in enumerate(zip(model.layers, steps, strict=True)):
            info = self._parts.snapshotter.info(layer.chain_id)
            layers.append(
                LayerSummary(
                    index=index,
                    digest=layer.digest,
                    diff_id=layer.diff_id,
                    chain_id=layer.chain_id,
                    size=info.bytes if info else layer.size,
                    blob_size=layer.size,
                    media_type=layer.descriptor.media_type,
                    created_by=step.created_by,
                    shared_by=users.get(layer.chain_id, 0),
                )
            )
        return layers

    def files(self, name: str) -> ImageFiles:
        """The files of an image, layer by layer: what was added, changed, removed, and what is carried in vain."""
        from jupyter_containers.engine.files import image_files  # noqa: PLC0415 - seldom used

        model = self._library.read(self._library.find(name))
        self._library.unpack(model)
        dirs = self._parts.snapshotter.layer_dirs(model.chain_ids) if model.chain_ids else []
        return image_files.look(self._parts, name, self.layers(name), dirs)

    def inspect(self, name: str) -> dict[str, Any]:
        """An image as Docker's ``inspect`` shows it."""
        row = self._library.find(name)
        model = self._library.read(row)
        names = [Reference.parse(text) for text in row.names]
        settings = json.loads(encode(model.settings))
        size = self._size(model)
        return {
            "Id": str(model.id),
            "RepoTags": [reference.familiar for reference in names],
            "RepoDigests": sorted({f"{reference.familiar_name}@{model.digest}" for reference in names}),
            "Parent": "",
            "Comment": next((each.comment or "" for each in reversed(model.config.history or ())), ""),
            "Created": model.config.created,
            "DockerVersion": "",
            "Author": model.config.author or "",
            "Config": {**_NO_SETTINGS, **settings},
            "Architecture": model.config.architecture,
            **({"Variant": model.config.variant} if model.config.variant else {}),
            "Os": model.config.os,
            "Size": size,
            "VirtualSize": size,
            "GraphDriver": {"Data": None, "Name": "overlay"},
            "RootFS": {"Type": "layers", "Layers": [str(layer.diff_id) for layer in model.layers]},
            "Descriptor": {"mediaType": row.media_type, "digest": row.digest, "size": row.size},
        }

    def remove(self, name: str, *, force: bool = False) -> builtins.list[str]:
        """Take away a name and, when it was the last one, the image and what only it needed.

        By id all names go, if there is one only or ``force`` is set.

        Returns
        -------
        list of str
            Docker's lines: ``Untagged: …``, ``Deleted: sha256:…``.

        Raises
        ------
        ImageInUse
            when a container was made from it and ``force`` is not set.
        Conflict
            when it has several names and is given by id, without ``force``.
        """
        row, named = self.removable(name, force=force)
        if named is not None:
            self._library.untag(named)
            self._library.publish()
            return [f"Untagged: {named.familiar}"]
        lines = [f"Untagged: {Reference.parse(text).familiar}" for text in row.names]
        gone = self._library.remove_all([row])
        return [
            *lines,
            f"Deleted: {row.image_id}",
            *(f"Deleted: {digest}" for digest in gone if digest != row.image_id),
        ]

    def removable(self, name: str, *, force: bool = False) -> tuple[ImageRow, Reference | None]:
        """The image that :meth:`remove` would take away, or the one name of it; it raises the same."""
        row = self._library.find(name)
        named = self._is_name(name, row)
        if named is not None and len(row.names) > 1:
            return row, named
        if named is None and len(row.names) > 1 and not force:
            raise Conflict(
                f"the image {Digest(row.image_id).short} has several names: "
                + ", ".join(Reference.parse(text).familiar for text in row.names),
                hint="remove a name, or give force to remove all",
            )
        if not force:
            self._library.check_unused(row)
        return row, None

    def prune(
        self,
        *,
        all: bool = False,  # noqa: A002 - docker's flag
        filters: Sequence[str] = (),
    ) -> PruneReport:
        """Remove the images without a name, or ``all``, that no container was made from.

        Parameters
        ----------
        filters
            Only those that match all: ``until=24h`` (made before), ``label=KEY[=VALUE]``, ``label!=KEY[=VALUE]``.

        Raises
        ------
        InvalidInput
            for another filter.
        """
        from jupyter_containers.engine import pruning  # noqa: PLC0415 - seldom used

        return pruning.images(self._parts, pruning.matcher(filters), everything=all)

    @staticmethod
    def _is_name(text: str, row: ImageRow) -> Reference | None:
        return next((ref for ref in map(Reference.parse, row.names) if text in _spellings(ref)), None)


def _spellings(reference: Reference) -> set[str]:
    bare = {reference.familiar, str(reference)}
    if reference.tag == "latest":
        bare |= {reference.familiar_name, reference.name}
    return bare


def image_of(row: ImageRow, model: ImageModel, result: BuildResult | None = None) -> Image:
    """An image as the facade shows it."""
    settings = model.settings
    return Image(
        id=model.id,
        digest=model.digest,
        names=tuple(Reference.parse(name).familiar for name in row.names),
        created=model.created,
        size=model.size,
        labels=dict(model.labels),
        command=(*(settings.entrypoint or ()), *(settings.cmd or ())),
        platform=str(model.platform),
        build=result,
    )
