"""The images of the store: finding, pulling, naming, unpacking, removing. What ``Images`` and the builder share."""

from __future__ import annotations

import os
import re
import threading
import time
from typing import TYPE_CHECKING, Protocol

from jupyter_containers.engine.record import ContainerRecord
from jupyter_containers.errors import BlobNotFound, Conflict, ImageInUse, ImageNotFound, InvalidReference
from jupyter_containers.events import Notice, Transfer, ignore
from jupyter_containers.images.model import Image as ImageModel
from jupyter_containers.oci.image_spec import ANNOTATION_REF_NAME, Descriptor
from jupyter_containers.oci.names import Digest, Platform, Reference
from jupyter_containers.state import ImageRow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from jupyter_containers.build.cache import SqliteCache
    from jupyter_containers.build.cancel import CancelToken
    from jupyter_containers.build.interfaces import PullPolicy, ResolvedImage
    from jupyter_containers.content.store import ContentStore
    from jupyter_containers.events import EventSink
    from jupyter_containers.snapshots.base import LayerInfo, Snapshotter
    from jupyter_containers.state import State

    class Tell(Protocol):
        """Enters something in the store's journal: kind, action, id, attributes."""

        def __call__(self, kind: str, action: str, identity: str, /, **attributes: str) -> None:
            """Enter it."""


_ID = re.compile(r"(?:sha256:)?([0-9a-f]{4,64})")


class Library:
    """The images of one store. Thread-safe; implements the builder's ``ImageSource``."""

    def __init__(
        self, state: State, store: ContentStore, snapshotter: Snapshotter, cache: Callable[[], SqliteCache], tell: Tell
    ) -> None:
        self._tell = tell
        self._state = state
        self._store = store
        self._snapshotter = snapshotter
        self._cache = cache
        self._models: dict[str, ImageModel] = {}
        self._unpacking = threading.Lock()
        self.platform = Platform.of_machine(os.uname().machine)

    # -- finding -----------------------------------------------------------------------------------------------------

    def find(self, text: str) -> ImageRow:
        """The image of a name, an id or the beginning of one.

        Raises
        ------
        ImageNotFound
            when there is none.
        Conflict
            when several ids begin so.
        """
        row = self._named(text)
        match = _ID.fullmatch(text)
        if row is None and match:
            found = {image.image_id: image for image in self._state.images_with_id(match[1])}
            if len(found) > 1:
                raise Conflict(f"several images have an id that begins with {match[1]}", hint="give more of its digits")
            row = next(iter(found.values()), None)
        if row is None:
            raise ImageNotFound(f"no such image: {text}", hint="pull or build it first; 'images' lists what there is")
        return row

    def _named(self, text: str) -> ImageRow | None:
        try:
            reference = Reference.parse(text)
        except InvalidReference:
            return None
        if reference.digest is None:
            return self._state.image_named(str(reference))
        row = self._state.image(reference.digest)
        held = row is not None and any(name.startswith(f"{reference.name}:") for name in row.names)
        return row if held else None

    def read(self, row: ImageRow) -> ImageModel:
        """The documents of an image; kept in memory, since an image never changes."""
        model = self._models.get(row.digest)
        if model is None:
            model = ImageModel.read(self._store, Descriptor(row.media_type, row.digest, row.size))
            self._models[row.digest] = model
        return model

    # -- getting -----------------------------------------------------------------------------------------------------

    def obtain(
        self, text: str, *, platform: Platform | None = None, pull: str = "missing", sink: EventSink = ignore
    ) -> tuple[ImageRow, ImageModel]:
        """An image that is here, or is made (the embedded ones) or pulled, as ``pull`` says.

        Raises
        ------
        ImageNotFound
            when it is nowhere, or is for another platform.
        """
        wanted = platform or self.platform
        row = None
        if pull != "always":
            try:
                row = self.find(text)
            except ImageNotFound:
                if pull == "never":
                    raise
        if row is None:
            row = self.fetch(Reference.parse(text), platform=wanted, sink=sink)
        model = self._complete(row, platform=wanted, sink=sink)
        self.check_platform(text, model, wanted)
        return row, model

    @staticmethod
    def check_platform(text: str, model: ImageModel, wanted: Platform) -> None:
        """Raises ImageNotFound when an image is for another platform."""
        if not wanted.matches(model.platform):
            raise ImageNotFound(
                f"the image {text} is for {model.platform}, not for {wanted}",
                hint="pull it for this platform, or give --platform",
            )

    def _complete(self, row: ImageRow, *, platform: Platform, sink: EventSink) -> ImageModel:
        """Read an image; one whose blobs went missing is fetched again under its name."""
        try:
            return self.read(row)
        except BlobNotFound:
            if not row.names:
                raise
            sink(Notice(f"{row.names[0]} is incomplete in the store and is fetched again", "warning"))
            return self.read(self.fetch(Reference.parse(row.names[0]), platform=platform, sink=sink))

    def fetch(self, reference: Reference, *, platform: Platform, sink: EventSink) -> ImageRow:
        """Make an embedded image, or pull one from its registry, and record its name."""
        from jupyter_containers.images import starter  # noqa: PLC0415 - only when an image is missing

        if starter.is_starter(reference):
            name = reference.repository.rpartition("/")[2]
            sink(Transfer(name, "making from this machine's programs"))
            with self._store.lock(exclusive=False):
                descriptor = starter.make(name, self._store)
                row = self.record(descriptor, [reference], action="pull")
            sink(Transfer(name, "done"))
            return row
        from jupyter_containers.registry import transfer  # noqa: PLC0415 - urllib3 only when something is pulled

        with self._store.lock(exclusive=False):
            pulled = transfer.pull(reference, platform=platform, store=self._store, sink=sink)
            return self.record(pulled.descriptor, [reference] if reference.tag else [], action="pull")

    def push(self, row: ImageRow, reference: Reference, *, sink: EventSink) -> Descriptor:
        """Bring an image to the registry of a name; what it is there.

        Blobs that the registry has under another name of the image are taken over from there.
        """
        from jupyter_containers.registry import transfer  # noqa: PLC0415 - urllib3 only when something is pushed

        source = Descriptor(row.media_type, Digest(row.digest), row.size)
        others = [Reference.parse(name) for name in row.names]
        mount_from = [other for other in others if other.repository != reference.repository]
        with self._store.lock(exclusive=False):
            pushed = transfer.push(source, reference, store=self._store, sink=sink, mount_from=mount_from)
        self._tell("image", "push", reference.familiar, name=reference.familiar)
        return pushed.descriptor

    def record(self, descriptor: Descriptor, references: Sequence[Reference], *, action: str = "tag") -> ImageRow:
        """Enter an image that is complete in the content store, under names; ``action`` is what the journal says."""
        model = ImageModel.read(self._store, descriptor)
        before = self._state.image(descriptor.digest)
        names = tuple(f"{reference.name}:{reference.tag}" for reference in references)
        row = ImageRow(descriptor.digest, model.id, descriptor.media_type, descriptor.size, time.time_ns(), names)
        if before is None or not set(names) <= set(before.names):
            self._state.add_image(row)
            self.publish()
        self._models[row.digest] = model
        found = self._state.image(row.digest)
        assert found is not None
        for reference in references:
            name = reference.familiar
            self._tell("image", action, name if action == "pull" else model.id, name=name)
        return found

    def publish(self) -> None:
        """Write the store's ``index.json``, so that other tools see the images under their names."""
        entries = []
        for row in self._state.images():
            plain = Descriptor(row.media_type, row.digest, row.size)
            named = [
                Descriptor(
                    row.media_type,
                    row.digest,
                    row.size,
                    annotations={ANNOTATION_REF_NAME: Reference.parse(name).familiar},
                )
                for name in row.names
            ]
            entries += named or [plain]
        self._store.write_index(entries)

    # -- unpacking ---------------------------------------------------------------------------------------------------

    def unpack(self, model: ImageModel, *, sink: EventSink = ignore) -> tuple[Digest, ...]:
        """Extract the layers that are not yet; returns the chain ids, bottom first."""
        chains = model.chain_ids
        if chains and self._snapshotter.info(chains[-1]) and all(self._snapshotter.info(chain) for chain in chains):
            return chains
        with self._unpacking:
            for index, layer in enumerate(model.layers):
                if self._snapshotter.info(layer.chain_id):
                    continue
                sink(Transfer(layer.digest.short, "extracting", 0, layer.size))
                self._snapshotter.unpack(
                    layer.chain_id, self._store.path(layer.digest), diff_id=layer.diff_id, parents=chains[:index]
                )
                sink(Transfer(layer.digest.short, "done", layer.size, layer.size))
        return chains

    def resolve(
        self, reference: Reference, *, platform: Platform, pull: PullPolicy, sink: EventSink, cancel: CancelToken
    ) -> ResolvedImage:
        """The builder's way to an image; see :class:`~jupyter_containers.build.interfaces.ImageSource`."""
        from jupyter_containers.build.interfaces import Layer, ResolvedImage  # noqa: PLC0415 - only for builds

        cancel.check()
        row, model = self.obtain(reference.familiar, platform=platform, pull=pull, sink=sink)
        layers = tuple(Layer(layer.descriptor, layer.diff_id) for layer in model.layers)
        return ResolvedImage(reference.familiar, Descriptor(row.media_type, row.digest, row.size), model.config, layers)

    # -- removing ----------------------------------------------------------------------------------------------------

    def untag(self, reference: Reference) -> bool:
        """Take one name away."""
        row = self._state.image_named(f"{reference.name}:{reference.tag}")
        gone = self._state.remove_name(f"{reference.name}:{reference.tag}")
        if row is not None and gone:
            self._tell("image", "untag", row.image_id, name=row.image_id)
        return gone

    def users(self, row: ImageRow) -> list[str]:
        """Names of the containers that were made from an image."""
        return [container.name for container in self._state.containers() if container.digest == row.digest]

    def remove(self, row: ImageRow) -> list[Digest]:
        """Forget an image and delete what only it needed; returns the blobs that went. Raises ImageInUse."""
        self.check_unused(row)
        return self.remove_all([row])

    def check_unused(self, row: ImageRow) -> None:
        """Raises ImageInUse when containers were made from an image."""
        users = self.users(row)
        if users:
            raise ImageInUse(
                f"the image {row.image_id[7:19]} is used by container {users[0]}",
                hint=f"remove the container first: rm {users[0]}",
            )

    def remove_all(self, rows: Sequence[ImageRow]) -> list[Digest]:
        """Forget images and delete what only they needed; returns the blobs that went."""
        for row in rows:
            self._state.remove_image(row.digest)
            for _name in row.names:
                self._tell("image", "untag", row.image_id, name=row.image_id)
            self._tell("image", "delete", row.image_id, name=row.image_id)
            self._models.pop(row.digest, None)
        self.publish()
        return self.collect()

    def collect(self) -> list[Digest]:
        """Delete blobs and extracted layers that no image, container or cached build step needs.

        While something is pulled or built nothing is deleted: what that brings is not referred to yet.
        """
        with self._store.lock(exclusive=True, wait=False) as held:
            if not held:
                return []
            gone, layers = self.unneeded()
            for digest in gone:
                self._store.remove(digest)
            for info in layers:
                self._snapshotter.remove(info.chain)
        return gone

    def unneeded(self, without: Collection[str] = ()) -> tuple[list[Digest], list[LayerInfo]]:
        """The blobs and extracted layers that no container, cached build step, or image needs.

        The images of the digests ``without`` do not count.
        """
        cached = self._cache().layers()
        blobs = {Digest(layer.blob.digest) for layer in cached}
        cached_diffs = {layer.diff_id for layer in cached}
        chains: set[str] = set()
        for container in self._state.containers():
            record = ContainerRecord.decode(container.record)
            chains.update(record.chains, *(point.chains for point in record.mounts))
        for row in self._state.images():
            model = None if row.digest in without else self.read_or_none(row)
            if model is not None:
                blobs |= model.blobs
                chains.update(model.chain_ids)
        gone = [digest for digest in self._store.digests() if digest not in blobs]
        layers = [info for info in self._snapshotter.chains() if info.chain not in chains]
        return gone, [info for info in layers if info.diff_id not in cached_diffs]

    def read_or_none(self, row: ImageRow) -> ImageModel | None:
        """An image whose documents went missing needs nothing any more."""
        try:
            return self.read(row)
        except BlobNotFound:
            return None
