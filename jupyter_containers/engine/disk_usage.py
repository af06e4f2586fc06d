"""``engine.disk_usage()``: what images, containers, volumes and builds take, and what of it nothing needs.

A layer is counted once, however many images have it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_containers.engine.build.storage import BuildStorage, CacheItem
from jupyter_containers.engine.containers import Containers
from jupyter_containers.engine.images import Images
from jupyter_containers.engine.volumes import Volumes
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.engine.views import ContainerSummary, VolumeSummary
    from jupyter_containers.oci.names import Digest


@dataclass(frozen=True, slots=True)
class UsageTotal:
    """One line of ``system df``: ``active`` are those that something needs now, sizes are bytes."""

    type: str
    total: int
    active: int
    size: int
    reclaimable: int


@dataclass(frozen=True, slots=True)
class ImageUsage:
    """An image under one name: ``shared_size`` is in layers that others have too, ``unique_size`` is not."""

    repository: str | None
    tag: str | None
    id: Digest
    created: datetime | None
    size: int
    shared_size: int
    unique_size: int
    containers: int


@dataclass(frozen=True, slots=True)
class ContainerUsage:
    """A container: ``size`` is what it has written, ``volumes`` how many of them it has."""

    summary: ContainerSummary
    volumes: int
    size: int


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """All of a store; ``totals`` has images, containers, volumes and the build cache, in this order."""

    totals: tuple[UsageTotal, ...]
    images: tuple[ImageUsage, ...]
    containers: tuple[ContainerUsage, ...]
    volumes: tuple[VolumeSummary, ...]
    cache: tuple[CacheItem, ...]


def measure(parts: Parts) -> DiskUsage:
    """Measure a store; the files of containers, volumes and cache mounts are counted for it."""
    volumes = tuple(Volumes(parts).list(size=True))
    containers = _containers(parts, volumes)
    chains = _chains(parts)
    images = _images(parts, chains)
    cache = tuple(reversed(BuildStorage(parts).items()))
    active = {row.id for row in images if row.containers}
    layers = _bytes(parts, (chain for held in chains.values() for chain in held))
    needed = _bytes(parts, (chain for identity in active for chain in chains.get(identity, ())))
    held = {item.layer or item.id: item for item in cache}.values()
    running = [row for row in containers if row.summary.state in {"running", "paused", "restarting"}]
    used = [row for row in volumes if row.containers]
    totals = (
        UsageTotal("Images", len({row.id for row in images}), len(active), layers, layers - needed),
        UsageTotal(
            "Containers",
            len(containers),
            len(running),
            sum(row.size for row in containers),
            sum(row.size for row in containers if row not in running),
        ),
        UsageTotal(
            "Local Volumes",
            len(volumes),
            len(used),
            sum(row.size or 0 for row in volumes),
            sum(row.size or 0 for row in volumes if not row.containers),
        ),
        UsageTotal(
            "Build Cache",
            len(cache),
            sum(item.in_use for item in cache),
            sum(item.size for item in held if not item.shared),
            sum(item.reclaimable for item in held),
        ),
    )
    return DiskUsage(totals, images, containers, volumes, cache)


def _containers(parts: Parts, volumes: Iterable[VolumeSummary]) -> tuple[ContainerUsage, ...]:
    rows = []
    for summary in Containers(parts).list(all=True):
        upper = parts.paths.containers / summary.id / "upper"
        written = parts.trees.usage(upper).bytes if upper.is_dir() else 0
        mounted = sum(summary.name in volume.containers for volume in volumes)
        rows.append(ContainerUsage(summary, mounted, written))
    return tuple(rows)


def _chains(parts: Parts) -> dict[str, tuple[Digest, ...]]:
    """The layers of each image, by its id."""
    models = [parts.library.read_or_none(row) for row in parts.state.images()]
    return {str(model.id): tuple(model.chain_ids) for model in models if model is not None}


def _bytes(parts: Parts, chains: Iterable[Digest]) -> int:
    infos = [parts.snapshotter.info(chain) for chain in set(chains)]
    return sum(info.bytes for info in infos if info is not None)


def _images(parts: Parts, chains: dict[str, tuple[Digest, ...]]) -> tuple[ImageUsage, ...]:
    users: dict[Digest, int] = {}
    for held in chains.values():
        for chain in set(held):
            users[chain] = users.get(chain, 0) + 1
    started = [row.digest for row in parts.state.containers()]
    found = []
    for row in Images(parts).list(all=True):
        held = chains.get(str(row.id), ())
        unique = _bytes(parts, (chain for chain in held if users[chain] == 1))
        shared = _bytes(parts, (chain for chain in held if users[chain] > 1))
        count = started.count(str(row.digest))
        found.append(ImageUsage(row.repository, row.tag, row.id, row.created, row.size, shared, unique, count))
    return tuple(found)
