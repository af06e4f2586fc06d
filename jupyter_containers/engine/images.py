"""``engine.images``: everything about images."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_containers.engine.options import split_pairs
from jupyter_containers.engine.views import HistoryEntry, ImageSummary, LayerSummary
from jupyter_containers.errors import Conflict, InvalidInput, NotFound, UsageError
from jupyter_containers.events import BuildFinished, ignore
from jupyter_containers.oci.image_spec import encode
from jupyter_containers.oci.names import Digest, Platform, Reference

if TYPE_CHECKING:
    import builtins
    import os
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from jupyter_containers.build.options import BuildResult
    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.events import EventSink
    from jupyter_containers.images.model import Image as ImageModel
    from jupyter_containers.state import ImageRow


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
        return _image(row, model)

    def build(  # noqa: PLR0913 - keyword arguments, one for each of docker's flags
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        dockerfile: str | None = None,
        file: str | os.PathLike[str] | None = None,
        tag: str | Sequence[str] | None = None,
        build_arg: Mapping[str, str] | Sequence[str] | None = None,
        target: str | None = None,
        label: Mapping[str, str] | Sequence[str] | None = None,
        no_cache: bool = False,
        pull: bool = False,
        platform: str | None = None,
        network: str | None = None,
        sink: EventSink = ignore,
    ) -> Image:
        """Build an image.

        Parameters
        ----------
        path
            The directory that COPY and ADD read, and where the Dockerfile is looked for.
        dockerfile
            The text of the Dockerfile; without it ``file``, else ``Dockerfile`` or ``Containerfile`` in ``path``.
        tag
            Names for the image.

        Raises
        ------
        DockerfileError, StepFailed, ImageNotFound
            saying which line of the Dockerfile.
        """
        from jupyter_containers.build.options import BuildOptions  # noqa: PLC0415 - the builder is not always needed

        references = [Reference.parse(text) for text in ([tag] if isinstance(tag, str) else tag or [])]
        for reference in references:
            if reference.digest is not None:
                raise InvalidInput(f"invalid tag {reference.familiar!r}: an image is tagged by name, not by digest")
        context = _context(path)
        text, name = _dockerfile(context, dockerfile, file)
        options = BuildOptions(
            dockerfile=text,
            name=name,
            context=context,
            target=target,
            build_args=_pairs(build_arg),
            labels=_pairs(label),
            no_cache=no_cache,
            pull="always" if pull else "missing",
            platform=Platform.parse(platform) if platform else None,
            network=_network(network),
            tags=tuple(str(reference) for reference in references),
        )
        with self._parts.store.lock(exclusive=False):
            result = self._parts.build(options, sink)
            row = self._library.record(result.manifest, references)
        sink(BuildFinished(row.image_id, tuple(reference.familiar for reference in references), result.seconds))
        return _image(row, self._library.read(row), result)

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
        return _image(row, self._library.read(row))

    def tag(self, source: str, target: str) -> Image:
        """Give an image another name; a name that another image had moves to this one."""
        row = self._library.find(source)
        reference = Reference.parse(target)
        if reference.digest is not None:
            raise InvalidInput(f"invalid tag {target!r}: an image is tagged by name, not by digest")
        model = self._library.read(row)
        return _image(self._library.record(model.descriptor, [reference]), model)

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

    def inspect(self, name: str) -> dict[str, Any]:
        """An image as Docker's ``inspect`` shows it."""
        row = self._library.find(name)
        model = self._library.read(row)
        names = [Reference.parse(text) for text in row.names]
        settings = json.loads(encode(model.settings))
        return {
            "Id": str(model.id),
            "RepoTags": [reference.familiar for reference in names],
            "RepoDigests": sorted({f"{reference.familiar_name}@{model.digest}" for reference in names}),
            "Created": model.config.created,
            "Author": model.config.author or "",
            "Config": settings,
            "Architecture": model.config.architecture,
            "Os": model.config.os,
            "Size": self._size(model),
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
        row = self._library.find(name)
        named = self._is_name(name, row)
        if named is not None and len(row.names) > 1:
            self._library.untag(named)
            self._library.publish()
            return [f"Untagged: {named.familiar}"]
        if named is None and len(row.names) > 1 and not force:
            raise Conflict(
                f"the image {Digest(row.image_id).short} has several names: "
                + ", ".join(Reference.parse(text).familiar for text in row.names),
                hint="remove a name, or give force to remove all",
            )
        lines = [f"Untagged: {Reference.parse(text).familiar}" for text in row.names]
        gone = self._library.remove(row, force=force)
        return [
            *lines,
            f"Deleted: {row.image_id}",
            *(f"Deleted: {digest}" for digest in gone if digest != row.image_id),
        ]

    @staticmethod
    def _is_name(text: str, row: ImageRow) -> Reference | None:
        return next((ref for ref in map(Reference.parse, row.names) if text in _spellings(ref)), None)


def _spellings(reference: Reference) -> set[str]:
    bare = {reference.familiar, str(reference)}
    if reference.tag == "latest":
        bare |= {reference.familiar_name, reference.name}
    return bare


def _image(row: ImageRow, model: ImageModel, result: BuildResult | None = None) -> Image:
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


def _context(path: str | os.PathLike[str] | None) -> Path | None:
    if path is None:
        return None
    context = Path(path).expanduser()
    if not context.is_dir():
        raise NotFound(f"the build context {path} is not a directory", hint="give the folder that COPY reads from")
    return context.resolve()


def _dockerfile(context: Path | None, text: str | None, file: str | os.PathLike[str] | None) -> tuple[str, str]:
    """The text and the name of the Dockerfile."""
    if text is not None:
        if file is not None:
            raise UsageError("give the Dockerfile as text or as a file, not both")
        return text, "Dockerfile"
    if file is not None:
        candidates = [Path(file).expanduser()]
        if context is not None and not candidates[0].is_absolute():
            candidates.append(context / file)
    elif context is not None:
        candidates = [context / "Dockerfile", context / "Containerfile"]
    else:
        raise UsageError("nothing to build", hint="give a folder with a Dockerfile, or the text of one")
    for candidate in candidates:
        if candidate.is_file():
            try:
                return candidate.read_text(encoding="utf-8"), candidate.name
            except OSError as error:
                raise InvalidInput(f"cannot read {candidate}: {error.strerror}") from error
            except UnicodeDecodeError as error:
                raise InvalidInput(
                    f"{candidate} is no text: byte {error.start} is not UTF-8", hint="save it with the encoding UTF-8"
                ) from error
    raise NotFound(f"there is no Dockerfile at {candidates[0]}", hint="write one there, or name it with --file")


def _pairs(given: Mapping[str, str] | Sequence[str] | None) -> dict[str, str]:
    if given is None:
        return {}
    if isinstance(given, str):
        return split_pairs([given])
    from collections.abc import Mapping as MappingType  # noqa: PLC0415 - the name is taken for checking only

    return dict(given) if isinstance(given, MappingType) else split_pairs(given)


def _network(name: str | None) -> Any:
    if name not in {None, "default", "none", "host"}:
        raise UsageError(f"a build has no network {name!r}", hint="use default, none or host")
    return name or "default"
