"""``engine.dry_run``: what would be done, told and not done. Nothing is made, changed, fetched or started.

What can be refused is refused as it would be, by the same code; what only shows while it is done is not known.
"""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from jupyter_containers.engine import pruning, volumes
from jupyter_containers.engine.build.storage import BuildStorage, unused
from jupyter_containers.engine.containers import Containers
from jupyter_containers.engine.images import Images
from jupyter_containers.engine.launch import creation, mountpoints, mounts
from jupyter_containers.engine.network import creation as network_creation
from jupyter_containers.engine.network import networking
from jupyter_containers.engine.network.record import BRIDGE
from jupyter_containers.engine.networks import Networks
from jupyter_containers.engine.options import RunOptions
from jupyter_containers.engine.volumes import Volumes
from jupyter_containers.errors import Conflict, ImageNotFound, InvalidInput, NameInUse
from jupyter_containers.network import ports
from jupyter_containers.oci.names import Digest, Platform, Reference
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Unpack

    from jupyter_containers.engine.build.inputs import ContextSource
    from jupyter_containers.engine.build.keywords import BuildKeywords
    from jupyter_containers.engine.launch.mounts import MountPoint
    from jupyter_containers.engine.network.creation import NetworkKeywords
    from jupyter_containers.engine.network.record import NetworkRecord
    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.engine.record import ContainerRecord
    from jupyter_containers.engine.views import VolumeSummary
    from jupyter_containers.images.model import Image as ImageModel
    from jupyter_containers.state import ImageRow, VolumeRow


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that would be done: ``does`` is a verb (pull, make, remove ...), ``kind`` and ``name`` say to what.

    ``frees`` are the bytes that it frees on the disk, where it removes something whose size is known.
    """

    does: str
    kind: str
    name: str
    detail: str = ""
    frees: int | None = None


class DryRun:
    """See the module. Each method is named as what it tells of, and raises what that would raise."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._containers = Containers(parts)
        self._volumes = Volumes(parts)

    # -- containers --------------------------------------------------------------------------------------------------

    def run(self, image: str, command: Sequence[str] | None = None, *, options: RunOptions | None = None) -> list[Deed]:
        """What ``run`` would do: image, network, volumes, container, program."""
        options = options or RunOptions()
        deeds = self.create(image, command, options=options)
        name = options.name or "a name of its own"
        deeds.append(Deed("start", "container", name, "in the background" if options.detach else ""))
        if options.remove:
            deeds.append(Deed("remove", "container", name, "when it has ended"))
        return deeds

    def create(
        self, image: str, command: Sequence[str] | None = None, *, options: RunOptions | None = None
    ) -> list[Deed]:
        """What ``create`` would do."""
        options = options or RunOptions()
        options.check()
        parts = self._parts
        deeds, model = self._image(image, options)
        network, places, _ = networking.choose(parts, options, lambda name: self._other(name).id, bring_up=False)
        creation.decide(parts, options, network)
        deeds += [
            Deed("bring up", "network", each.name, "where this host allows a bridge" if each.name == BRIDGE else "")
            for each in places
            if networking.is_down(parts, each.name)
        ]
        declared = (model.settings.volumes if model else None) or ()
        points = mountpoints.chosen(options, self._other)
        deeds += [deed for point in (*points, *mountpoints.implied(points, declared)) for deed in self._mount(point)]
        exposed = tuple(ports.exposed((*((model.settings.exposed_ports if model else None) or ()), *options.expose)))
        published = ports.of_options(options.publish, exposed, publish_all=options.publish_all)
        if options.name and any(row.name == options.name for row in parts.state.containers()):
            raise NameInUse(
                f'the container name "{options.name}" is already in use', hint="remove it or choose another name"
            )
        words = creation.arguments(model, command, options, image)[0] if model else tuple(command or ("the image's",))
        deeds.append(Deed("create", "container", options.name or "a name of its own", f"command: {shlex.join(words)}"))
        if network != "host":
            deeds += [Deed("publish", "port", each.key, f"at {each.host}:{each.first or 'any'}") for each in published]
        if options.cidfile:
            deeds.append(Deed("write", "file", options.cidfile, "its id"))
        return deeds

    def _other(self, name: str) -> ContainerRecord:
        return self._containers.record(name)

    def _image(self, image: str, options: RunOptions) -> tuple[list[Deed], ImageModel | None]:
        """What is done for an image, and what is known of it now."""
        library = self._parts.library
        platform = Platform.parse(options.platform) if options.platform else library.platform
        if options.pull == "always":
            return [self._fetch(image)], None
        try:
            model = library.read_or_none(library.find(image))
        except ImageNotFound:
            if options.pull == "never":
                raise
            model = None
        if model is None:
            return [self._fetch(image)], None
        library.check_platform(image, model, platform)
        missing = [chain for chain in model.chain_ids if self._parts.snapshotter.info(chain) is None]
        return [Deed("unpack", "layer", Digest(each).short, f"of {image}") for each in missing], model

    @staticmethod
    def _fetch(image: str) -> Deed:
        from jupyter_containers.images import starter  # noqa: PLC0415 - only when an image is missing

        reference = Reference.parse(image)
        if starter.is_starter(reference):
            return Deed("make", "image", reference.familiar, "from this machine's programs")
        return Deed("pull", "image", reference.familiar, f"from {reference.registry}")

    def _mount(self, point: MountPoint) -> list[Deed]:
        """What has to be made so that something can be mounted."""
        match point.kind:
            case "bind" if mountpoints.is_missing(point):
                return [Deed("make", "directory", point.source, f"for {point.target}")]
            case "image":
                return self._image(point.source, RunOptions())[0]
            case "volume" if not point.source:
                return [Deed("make", "volume", "without a name", f"for {point.target}")]
            case "volume" if not point.volume and self._parts.state.volume(point.source) is None:
                mounts.check_name(point.source)
                return [Deed("make", "volume", point.source, f"for {point.target}")]
            case _:
                return []

    def start(self, name: str) -> list[Deed]:
        """What ``start`` would do; nothing for one that runs."""
        record = self._containers.record(name)
        return [] if self._containers.runs(record) else [Deed("start", "container", record.name)]

    def stop(self, name: str, *, signal: str | None = None, time: float | None = None) -> list[Deed]:
        """What ``stop`` would do; nothing for one that does not run."""
        record = self._containers.record(name)
        if not self._containers.runs(record):
            return []
        grace = record.stop_timeout if time is None else time
        detail = f"{signal or record.stop_signal}" + (f", and SIGKILL after {grace:g} s" if grace >= 0 else "")
        deeds = [Deed("stop", "container", record.name, detail)]
        return [*deeds, *self._removal(record, volumes=False)] if record.options.remove else deeds

    def restart(self, name: str, *, signal: str | None = None, time: float | None = None) -> list[Deed]:
        """What ``restart`` would do."""
        record = self._containers.record(name)
        stops = [deed for deed in self.stop(record.id, signal=signal, time=time) if deed.does == "stop"]
        return [*stops, Deed("start", "container", record.name)]

    def remove_container(self, name: str, *, force: bool = False, volumes: bool = False) -> list[Deed]:
        """What ``rm`` would do."""
        record, running = self._containers.removable(name, force=force)
        kills = [Deed("kill", "container", record.name, "SIGKILL")] if running else []
        return [*kills, *self._removal(record, volumes=volumes)]

    def _removal(self, record: ContainerRecord, *, volumes: bool) -> list[Deed]:
        directory = self._parts.paths.containers / record.id
        size = self._parts.trees.usage(directory).bytes if os.path.lexists(directory) else 0
        deeds = [Deed("remove", "container", record.name, record.id[:12], size)]
        for point in record.mounts if volumes or record.options.remove else ():
            users = {identity for identity, _name in self._parts.state.volume_users(point.volume)}
            if point.anonymous and users == {record.id}:
                size = self._parts.volumes.usage(point.volume).bytes
                deeds.append(Deed("remove", "volume", point.volume[:12], f"was at {point.target}", size))
        return deeds

    def prune_containers(self, filters: Sequence[str] = ()) -> list[Deed]:
        """What ``container prune`` would remove."""
        records = pruning.ended(self._parts, pruning.matcher(filters))
        return [deed for record in records for deed in self._removal(record, volumes=False)]

    def prune_everything(
        self, filters: Sequence[str] = (), *, everything: bool = False, volumes: bool = False
    ) -> list[Deed]:
        """What ``system prune`` would remove, one after the other: a container's image has no use without it."""
        matches = pruning.matcher(filters)
        gone = [record.id for record in pruning.ended(self._parts, matches)]
        networks = pruning.unused_networks(self._parts, matches, without=gone)
        rows = self._volumes.unused(without=gone) if volumes else []
        images = pruning.unused_images(self._parts, matches, everything=everything, without=gone)
        cache = [text for text in filters if text.startswith("until=")]
        labelled = any(text.startswith("label") for text in filters)
        return [
            *self.prune_containers(filters),
            *map(_network_removal, networks),
            *map(self._volume_removal, rows),
            *self._image_removal(images),
            *([] if labelled else self.prune_builds({}, filters=cache)),
        ]

    # -- images ------------------------------------------------------------------------------------------------------

    def pull(self, name: str) -> list[Deed]:
        """What ``pull`` would do."""
        return [self._fetch(name)]

    def tag(self, source: str, target: str) -> list[Deed]:
        """What ``tag`` would do."""
        row = self._parts.library.find(source)
        reference = Reference.parse(target)
        if reference.digest is not None:
            raise InvalidInput(f"invalid tag {target!r}: an image is tagged by name, not by digest")
        before = self._parts.state.image_named(f"{reference.name}:{reference.tag}")
        moves = before is not None and before.digest != row.digest
        detail = f"of {Digest(row.image_id).short}"
        return [Deed("move" if moves else "add", "name", reference.familiar, detail)]

    def remove_images(self, names: Sequence[str], *, force: bool = False) -> list[Deed]:
        """What ``rmi`` would do with all these names."""
        images, deeds = Images(self._parts), []
        gone: dict[str, list[str]] = {}
        rows: list[ImageRow] = []
        for name in names:
            row, named = images.removable(name, force=force)
            lost = gone.setdefault(row.digest, [])
            last = named is None or set(row.names) <= {*lost, str(named)}
            if last and not force:
                self._parts.library.check_unused(row)
            now = row.names if named is None else (f"{named.name}:{named.tag}",)
            deeds += [Deed("remove", "name", Reference.parse(each).familiar) for each in now if each not in lost]
            lost += now
            if last and row not in rows:
                rows.append(row)
        return [*deeds, *self._image_removal(rows)]

    def _image_removal(self, rows: Sequence[ImageRow]) -> list[Deed]:
        deeds = [Deed("remove", "image", Digest(row.image_id).short, ", ".join(_names(row))) for row in rows]
        if not rows:
            return []
        blobs, layers = self._parts.library.unneeded({row.digest for row in rows})
        size = sum(self._parts.store.size(each) for each in blobs) + sum(info.bytes for info in layers)
        return [*deeds, Deed("remove", "data", f"{len(blobs)} blobs, {len(layers)} layers", "that nothing needs", size)]

    def prune_images(self, filters: Sequence[str] = (), *, everything: bool = False) -> list[Deed]:
        """What ``image prune`` would remove."""
        return self._image_removal(pruning.unused_images(self._parts, pruning.matcher(filters), everything=everything))

    def build(self, path: ContextSource | None = None, **given: Unpack[BuildKeywords]) -> list[Deed]:
        """What ``build`` would do; which steps are in the cache shows only while it builds."""
        from jupyter_containers.engine.builds import Builds  # noqa: PLC0415 - the builder is not always needed

        outline = Builds(self._parts).outline(path, **given)
        options = RunOptions(pull="always" if given.get("pull") else "missing")
        deeds = [
            deed for name in outline.images for deed in self._image(name, options)[0] if deed.does in {"pull", "make"}
        ]
        for does, places in (("do", outline.needed), ("skip", outline.unneeded)):
            deeds += [Deed(does, "step", f"{each.stage} {each.index}/{each.total}", each.text) for each in places]
        tags = given.get("tag") or ()
        names = [tags] if isinstance(tags, str) else tags
        deeds += [Deed("make", "image", Reference.parse(each).familiar) for each in names]
        outputs = given.get("output") or ()
        return [
            *deeds,
            *(Deed("write", "output", each) for each in ([outputs] if isinstance(outputs, str) else outputs)),
        ]

    def prune_builds(
        self, keep: Mapping[str, str | None], *, mounts: bool = False, filters: Sequence[str] = ()
    ) -> list[Deed]:
        """What ``builder prune`` would remove; ``keep`` has ``reserved``, ``most`` and ``least_free``."""
        storage = BuildStorage(self._parts)
        limits = {name: keep.get(name) for name in ("reserved", "most", "least_free")}
        items, _ = storage.chosen(unused(all=mounts, filters=filters), storage.to_keep(**limits))
        return [Deed("remove", "cache", item.id[:12], item.description, item.reclaimable) for item in items]

    # -- networks and volumes ----------------------------------------------------------------------------------------

    def create_network(self, name: str, **given: Unpack[NetworkKeywords]) -> list[Deed]:
        """What ``network create`` would do."""
        record = network_creation.settle(self._parts, network_creation.Request.of(name, given))
        if any(each.name == record.name for each in networking.networks(self._parts)):
            raise NameInUse(f"network with name {name} already exists", hint="choose another name")
        addresses = ", ".join(filter(None, (record.subnet, record.subnet6)))
        deeds = [Deed("create", "network", record.name, f"{record.driver}, {addresses or 'without a subnet'}")]
        return [*deeds, Deed("make", "interface", record.interface)] if record.driver == BRIDGE else deeds

    def remove_network(self, name: str) -> list[Deed]:
        """What ``network rm`` would do."""
        return [_network_removal(Networks(self._parts).removable(name))]

    def prune_networks(self, filters: Sequence[str] = ()) -> list[Deed]:
        """What ``network prune`` would remove."""
        return [*map(_network_removal, pruning.unused_networks(self._parts, pruning.matcher(filters)))]

    def create_volume(
        self, name: str | None = None, *, driver: str | None = None, opt: Sequence[str] = ()
    ) -> list[Deed]:
        """What ``volume create`` would do; nothing where there is one of this name and these options."""
        mounts.check_driver(driver)
        options = network_creation.pairs(opt)
        known = self._parts.state.volume(name) if name else None
        if known is None:
            if name:
                mounts.check_name(name)
            volumes.check_options(options)
            return [Deed("make", "volume", name or "without a name", ", ".join(opt))]
        volumes.check_same(known, options)
        return []

    def remove_volume(self, name: str, *, force: bool = False) -> list[Deed]:
        """What ``volume rm`` would do."""
        row = self._parts.state.volume(name)
        if row is None:
            if force:
                return []
            self._volumes.get(name)  # says that there is none
            return []
        if users := [user for _id, user in self._parts.state.volume_users(row.id)]:
            raise Conflict(
                f"the volume {row.name} is in use by container {', '.join(users)}",
                hint=f"remove the container first: rm {users[0]}",
            )
        return [self._volume_removal(row)]

    def _volume_removal(self, row: VolumeRow) -> Deed:
        return Deed("remove", "volume", row.name, "with its content", self._parts.volumes.usage(row.id).bytes)

    def prune_volumes(
        self, *, everything: bool = False, keep: Callable[[VolumeSummary], bool] = lambda _row: False
    ) -> list[Deed]:
        """What ``volume prune`` would remove."""
        return [*map(self._volume_removal, self._volumes.unused(all=everything, keep=keep))]


def _network_removal(record: NetworkRecord) -> Deed:
    return Deed("remove", "network", record.name, record.subnet)


def _names(row: ImageRow) -> Iterable[str]:
    return (Reference.parse(name).familiar for name in row.names)
