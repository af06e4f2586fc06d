"""Removing what nothing needs: containers that do not run, images nobody named or uses."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeAlias

from jupyter_containers.engine import status, supervision
from jupyter_containers.engine.launch import creation
from jupyter_containers.engine.moments import parse_moment
from jupyter_containers.engine.network import networking
from jupyter_containers.engine.record import ContainerRecord
from jupyter_containers.engine.repair import recovery
from jupyter_containers.engine.views import PruneReport
from jupyter_containers.errors import InvalidInput
from jupyter_containers.oci.names import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from jupyter_containers.engine.network.record import NetworkRecord
    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.state import ImageRow

    Matcher: TypeAlias = Callable[[int, Mapping[str, str]], bool]

_HINT = "the filters are until=24h, label=KEY[=VALUE] and label!=KEY[=VALUE]"


def matcher(filters: Sequence[str]) -> Matcher:
    """Whether something made at a time (ns since the epoch), with labels, is among what is to go; all must match.

    Raises
    ------
    InvalidInput
        for a filter that is none.
    """
    tests: list[Matcher] = []
    for text in filters:
        key, _, value = text.partition("=")
        if not value or key not in {"until", "label", "label!"}:
            raise InvalidInput(f"invalid filter {text!r}", hint=_HINT)
        tests.append(_until(value) if key == "until" else _label(value, wanted=key == "label"))
    return lambda made, labels: all(test(made, labels) for test in tests)


def _until(text: str) -> Matcher:
    last = parse_moment(text)
    return lambda made, _labels: made < last


def _label(text: str, *, wanted: bool) -> Matcher:
    name, given, value = text.partition("=")
    return lambda _made, labels: (name in labels and (not given or labels[name] == value)) == wanted


def ended(parts: Parts, matches: Matcher) -> list[ContainerRecord]:
    """The containers that do not run and match."""
    records = [ContainerRecord.decode(row.record) for row in parts.state.containers()]
    chosen = [record for record in records if matches(record.created, record.labels)]
    return [record for record in chosen if not status.read(parts.paths, record.id).running]


def containers(parts: Parts, matches: Matcher) -> PruneReport:
    """Remove the containers that do not run and match."""
    removed, total = [], 0
    for record in ended(parts, matches):
        with recovery.Ownership(parts, record.id, patience=0) as lock:
            if not lock.held or status.read(parts.paths, record.id).running:
                continue
            directory = parts.paths.containers / record.id
            total += parts.trees.usage(directory).bytes if os.path.lexists(directory) else 0
            creation.discard(parts, record)
            removed.append(record.id)
    supervision.tell_pruned(parts, "container", total)
    return PruneReport(tuple(removed), total)


def unused_images(parts: Parts, matches: Matcher, *, everything: bool, without: Collection[str] = ()) -> list[ImageRow]:
    """The images without a name, or ``everything``, that no container was made from and that match.

    The containers of the ids ``without`` do not count.
    """
    used = {row.digest for row in parts.state.containers() if row.id not in without}
    chosen = []
    for row in parts.state.images():
        if row.digest in used or (row.names and not everything):
            continue
        model = parts.library.read_or_none(row)
        made = int(model.created.timestamp() * 1e9) if model is not None and model.created else 0
        if matches(made, model.labels if model is not None else {}):
            chosen.append(row)
    return chosen


def images(parts: Parts, matches: Matcher, *, everything: bool) -> PruneReport:
    """Remove the images without a name, or ``everything``, that no container was made from and that match.

    The lines are Docker's: ``untagged: …``, ``deleted: sha256:…``.
    """
    chosen = unused_images(parts, matches, everything=everything)
    if not chosen:
        supervision.tell_pruned(parts, "image")
        return PruneReport((), 0)
    sizes = {digest: parts.store.size(digest) for digest in parts.store.digests()}
    layers = {info.chain: info.bytes for info in parts.snapshotter.chains()}
    gone = parts.library.remove_all(chosen)
    left = {info.chain for info in parts.snapshotter.chains()}
    total = sum(sizes.get(digest, 0) for digest in gone)
    total += sum(size for chain, size in layers.items() if chain not in left)
    supervision.tell_pruned(parts, "image", total)
    names = [f"untagged: {Reference.parse(name).familiar}" for row in chosen for name in row.names]
    return PruneReport((*names, *(f"deleted: {row.image_id}" for row in chosen)), total)


def unused_networks(parts: Parts, matches: Matcher, *, without: Collection[str] = ()) -> list[NetworkRecord]:
    """The networks that no container is in, running or not, and that match.

    The containers of the ids ``without`` do not count.
    """
    records = [ContainerRecord.decode(row.record) for row in parts.state.containers() if row.id not in without]
    used = {place.network for record in records for place in record.endpoints}
    found = networking.networks(parts)
    return [
        each for each in found if not each.predefined and each.id not in used and matches(each.created, each.labels)
    ]
