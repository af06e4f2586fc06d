"""An x-ray in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_containers.errors import size_text
from jupyter_containers.linux.seccomp_answers import ALLOWED
from jupyter_containers.records import replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jupyter_containers.engine.explain.xray.views import Unit, Xray

_FEW = 4


def shown(value: float, unit: Unit) -> str:
    """A limit or counter for people."""
    match unit:
        case "bytes":
            return size_text(int(value))
        case "seconds":
            return f"{value:.3f} s" if value < 1 else f"{value:.1f} s"
        case "CPUs":
            return f"{value:g} CPUs"
        case _:
            return f"{value:g}" if value != int(value) else str(int(value))


def told(xray: Xray) -> Xray:
    """The x-ray with its sentences."""
    return replace(xray, words=tuple(_sentences(xray)))


def _sentences(xray: Xray) -> Iterator[str]:
    yield _state(xray)
    yield _namespaces(xray)
    yield from dict.fromkeys(f"Ids: {each.words}." for each in xray.ids if each.kind == "user")
    yield _capabilities(xray)
    refused = sum(each.answer not in ALLOWED for each in xray.seccomp)
    filters = dict(xray.security).get("seccomp", "")
    if not xray.seccomp:
        yield f"System calls: {filters}."
    else:
        yield f"System calls: {filters}; {refused} of {len(xray.seccomp)} notable calls are refused."
    yield _limits(xray)
    open_paths = [each.path for each in xray.paths if each.holds is False]
    if open_paths:
        yield f"Not covered, though asked for: {', '.join(open_paths)}."
    if xray.missing:
        yield f"Not readable for this user: {', '.join(name for name, _ in xray.missing)}."


def _state(xray: Xray) -> str:
    if not xray.live:
        return f"{xray.name} is {xray.state}: what follows is its configuration, for it has no process."
    if xray.state == "created":
        return f"{xray.name} is being started: its first process is {xray.pid} outside."
    init = next((task for task in xray.processes if task.role == "init"), None)
    inside = f", {init.inside} inside" if init and init.inside is not None else ""
    outside = init.pid if init else xray.pid
    count = sum(task.inside is not None for task in xray.processes)
    return f"{xray.name} is {xray.state}: its first process is {outside} outside{inside}; {count} in all."


def _namespaces(xray: Xray) -> str:
    by: dict[str, list[str]] = {}
    for space in xray.namespaces:
        by.setdefault(space.relation, []).append(space.kind)
    parts = [
        f"{phrase} {_list(by[relation])}"
        for relation, phrase in (
            ("own", "of its own"),
            ("shared", "shared with other containers"),
            ("host", "the host's"),
            ("unknown", "not readable"),
        )
        if relation in by
    ]
    return f"Namespaces: {'; '.join(parts)}."


def _capabilities(xray: Xray) -> str:
    effective = {each.name for each in xray.capabilities if each.effective}
    bounding = {each.name for each in xray.capabilities if each.bounding}
    docker = {each.name for each in xray.capabilities if each.docker}
    more, less = sorted(bounding - docker), sorted(docker - bounding)
    beside = []
    if more:
        beside.append(f"more than Docker's default: {_few(more)}")
    if less:
        beside.append(f"less: {_few(less)}")
    compared = "; ".join(beside) or "as Docker's default"
    total = len(xray.capabilities)
    return f"Capabilities: {len(effective)} effective, {len(bounding)} of {total} in the bounding set, {compared}."


def _limits(xray: Xray) -> str:
    limits = [each for each in xray.cgroup if each.kind == "limit" and each.value is not None and each.unit != "text"]
    chosen = [each for each in limits if "weight" not in each.name and "reservation" not in each.name]
    if not xray.cgroup:
        return "Limits: it has no cgroup."
    if not chosen:
        return "Limits: none is set."
    return f"Limits: {'; '.join(f'{each.name} {each.text}' for each in chosen)}."


def _list(words: Sequence[str]) -> str:
    return ", ".join(words)


def _few(names: Sequence[str]) -> str:
    rest = len(names) - _FEW
    return ", ".join(names[:_FEW]) + (f" and {rest} others" if rest > 0 else "")
