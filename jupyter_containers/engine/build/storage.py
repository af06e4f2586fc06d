"""What builds keep in the store: cached steps, cache mounts, what failed steps left. Listed, bounded, pruned.

The bytes of a layer that an image or a container needs are theirs: they count as nothing here, and forgetting the
step frees nothing.
"""

from __future__ import annotations

import os
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from jupyter_containers.config import build_cache_limit
from jupyter_containers.engine.moments import moment
from jupyter_containers.engine.record import ContainerRecord
from jupyter_containers.engine.units import parse_bytes
from jupyter_containers.engine.views import PruneReport
from jupyter_containers.errors import Conflict, UsageError
from jupyter_containers.oci.names import Digest
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from jupyter_containers.engine.parts import Parts

ItemType: TypeAlias = Literal["regular", "exec.cachemount", "debug"]
STEP: Final = "regular"
MOUNT: Final = "exec.cachemount"
LEFT: Final = "debug"
_ROOM: Final = 10  # a tenth of the limit is freed beyond it, so that not every build has to
_TRUE: Final = {"1": True, "true": True, "0": False, "false": False}


@dataclass(frozen=True, slots=True)
class CacheItem:
    """One thing that is kept, types as BuildKit names them.

    ``size`` is what it takes in bytes; ``shared``: an image or a container needs it too, so removing it frees nothing.
    ``in_use``: a step has it mounted now. ``uses`` counts how often it was taken again.
    """

    id: str
    type: ItemType
    description: str
    size: int
    created: datetime | None
    used: datetime
    uses: int | None
    shared: bool = False
    in_use: bool = False
    layer: str = ""

    @property
    def reclaimable(self) -> int:
        """The bytes that removing it may free."""
        return 0 if self.shared or self.in_use else self.size


class BuildStorage:
    """All of a store."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def items(self) -> list[CacheItem]:
        """Everything, what was not used for longest first."""
        needed = self._needed()
        extracted: dict[str, int] = {}
        for info in self._parts.snapshotter.chains():
            extracted[info.diff_id] = max(extracted.get(info.diff_id, 0), info.bytes)
        found = [
            CacheItem(
                step.key,
                STEP,
                step.text,
                step.layer.blob.size + extracted.get(step.layer.diff_id, 0) if step.layer else 0,
                _time(step.created),
                _time(step.used),
                step.uses,
                shared=step.layer is not None and step.layer.diff_id in needed,
                layer=str(step.layer.diff_id) if step.layer else "",
            )
            for step in self._parts.cache.steps()
        ]
        found += [
            CacheItem(mount.key, MOUNT, mount.id, mount.bytes, None, _time(mount.used), None, in_use=mount.busy)
            for mount in self._parts.cache_mounts.list()
        ]
        for record, layer in self._parts.cache.ledger.failures():
            size = layer.blob.size + extracted.get(layer.diff_id, 0)
            made = _time(record.created)
            text = f"what a failed step left: {record.error}"
            found.append(CacheItem(record.id, LEFT, text, size, made, made, None, layer=str(layer.diff_id)))
        return sorted(found, key=lambda item: item.used)

    def _needed(self) -> set[str]:
        """The diff ids of the layers of images and containers."""
        parts = self._parts
        models = [parts.library.read_or_none(row) for row in parts.state.images()]
        needed = {str(layer.diff_id) for model in models if model is not None for layer in model.layers}
        for row in parts.state.containers():
            record = ContainerRecord.decode(row.record)
            for chains in (record.chains, *(point.chains for point in record.mounts)):
                needed |= {str(info.diff_id) for chain in chains if (info := parts.snapshotter.info(Digest(chain)))}
        return needed

    def prune(self, wanted: Callable[[CacheItem], bool], keep: int | None) -> PruneReport:
        """Remove those that are wanted away, the longest unused first, until ``keep`` bytes are left (None: all go)."""
        gone, freed = self.chosen(wanted, keep)
        return PruneReport(tuple(item.id for item in gone if self._remove(item)), freed if self._finish(gone) else 0)

    def chosen(self, wanted: Callable[[CacheItem], bool], keep: int | None) -> tuple[list[CacheItem], int]:
        """What :meth:`prune` would remove, and the bytes that frees."""
        items = self.items()
        others = Counter(item.layer for item in items if item.layer)
        sizes = {item.layer or item.id: item.reclaimable for item in items}
        total, freed = sum(sizes.values()), 0
        gone: list[CacheItem] = []
        for item in items:
            if keep is not None and total - freed <= keep:
                break
            if not wanted(item) or item.in_use or (keep is not None and not item.reclaimable):
                continue
            gone.append(item)
            others[item.layer] -= 1
            if not others[item.layer] or not item.layer:
                freed += item.reclaimable
        return gone, freed

    def _remove(self, item: CacheItem) -> bool:
        match item.type:
            case "exec.cachemount":
                try:
                    self._parts.cache_mounts.remove(item.id)
                except Conflict:
                    return False  # a step came first
            case "debug":
                self._parts.cache.ledger.drop(item.id)
            case _:
                self._parts.cache.remove([item.id])
        return True

    def _finish(self, gone: list[CacheItem]) -> bool:
        self._parts.cache.tidy()
        if gone:
            self._parts.library.collect()
        return bool(gone)

    def bound(self) -> PruneReport:
        """Keep what builds leave within the limit of the store; see :func:`.config.build_cache_limit`.

        It is quick while the limit is far: a layer counts twice, as its archive and extracted.
        """
        limit = build_cache_limit(self._parts.paths.root)
        if limit is None:
            return PruneReport((), 0)
        layers = {layer.diff_id: 2 * layer.blob.size for layer in self._parts.cache.layers()}
        if sum(layers.values()) + self._parts.cache_mounts.size() <= limit:
            return PruneReport((), 0)
        return self.prune(lambda _item: True, limit - limit // _ROOM)

    def to_keep(
        self, *, reserved: str | int | None, most: str | int | None, least_free: str | int | None
    ) -> int | None:
        """The bytes that may stay, of what BuildKit's options say; None: nothing need."""
        keep = None if most is None else parse_bytes(most, what="space to use at most")
        if least_free is not None:
            disk = os.statvfs(self._parts.paths.root)
            missing = parse_bytes(least_free, what="space to be free") - disk.f_bavail * disk.f_frsize
            total = sum({item.layer or item.id: item.reclaimable for item in self.items()}.values())
            room = max(0, total - max(0, missing))
            keep = room if keep is None else min(keep, room)
        if reserved is not None:
            keep = max(keep or 0, parse_bytes(reserved, what="storage to keep"))
        return keep


def unused(*, all: bool, filters: Sequence[str]) -> Callable[[CacheItem], bool]:  # noqa: A002 - docker's flag
    """What a prune is about: cache mounts with ``all`` only, or where a filter names them."""
    matches = matcher(filters)
    mounts = all or any(text.startswith(("type=", "id=")) for text in filters)
    return lambda item: matches(item) and (mounts or item.type != MOUNT)


def matcher(filters: Iterable[str]) -> Callable[[CacheItem], bool]:
    """Whether an item matches all filters, as ``--filter`` has them.

    Raises
    ------
    UsageError, InvalidInput
        for a filter that is none.
    """
    tests = [_test(text) for text in filters]
    return lambda item: all(test(item) for test in tests)


def _test(text: str) -> Callable[[CacheItem], bool]:
    key, equals, value = text.partition("=")
    value = value.removeprefix("=")  # BuildKit's own filters are written type==regular
    if not equals or not value:
        raise UsageError(f"invalid filter {text!r}", hint="write it as --filter until=24h")
    match key:
        case "until" | "unused-for":
            limit = moment(value)
            assert limit is not None
            return lambda item: item.used.timestamp() * 1e9 < limit
        case "id":
            return lambda item: item.id.startswith(value)
        case "type":
            return lambda item: item.type == value
        case "description" | "description~":
            return lambda item: value in item.description
        case "shared" | "inuse" if value in _TRUE:
            name = "in_use" if key == "inuse" else key
            return lambda item: getattr(item, name) is _TRUE[value]
        case _:
            raise UsageError(
                f"unknown filter {text!r}", hint="filters are until, id, type, description, shared and inuse"
            )


def _time(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9, tz=UTC)
