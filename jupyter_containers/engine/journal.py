"""Reading the store's journal: what happened to containers, by whatever process, as Docker's ``events`` tells it."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

import msgspec

from jupyter_containers import documents
from jupyter_containers.engine.moments import SECOND
from jupyter_containers.errors import InvalidInput
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

POLL_SECONDS = 0.05
_BLOCK = 1 << 16
_KEYS = (
    *("config", "container", "daemon", "event", "image", "label", "network", "node", "plugin", "scope", "secret"),
    *("service", "type", "volume"),
)


@dataclass(frozen=True, slots=True)
class Happening:
    """One event: ``type`` is ``container``, ``image`` ..., ``action`` ``start``, ``die`` ..., ``id`` of what.

    ``time`` is in UTC, ``nanoseconds`` the same since the epoch. ``document`` is the event as Docker's API has it.
    """

    type: str
    action: str
    id: str
    attributes: Mapping[str, str]
    time: datetime
    nanoseconds: int
    document: Mapping[str, Any]


def read(
    path: Path,
    *,
    since: int | None = None,
    until: int | None = None,
    filters: Sequence[str] = (),
    stop: Callable[[], bool] = bool,
) -> Iterator[Happening]:
    """Events from ``since`` on (default: from now on) until ``until`` (default: for ever); ns since the epoch.

    Parameters
    ----------
    filters
        ``key=value``: one of those with the same key, for every key, as with Docker.
    stop
        Asked often; the events end when it answers yes.

    Raises
    ------
    InvalidInput
        for a filter there is not.
    """
    keep = matcher(filters)
    begin = time.time_ns() if since is None else since
    for line in _lines(path, until, stop):
        happening = _decode(line)
        if happening is None or happening.nanoseconds < begin:
            continue
        if until is not None and happening.nanoseconds > until:
            return
        if keep(happening):
            yield happening


def _lines(path: Path, until: int | None, stop: Callable[[], bool]) -> Iterator[bytes]:
    """All lines there are, and those that come; the file that was set aside is read first."""
    file = _open(path.with_name(f"{path.name}.1"))
    aside = file is not None
    pending = b""
    try:
        while True:
            over = stop() or (until is not None and time.time_ns() > until)
            replaced = aside or (file is not None and not _is_current(path, file))
            while file is not None and (data := file.read(_BLOCK)):
                *lines, pending = (pending + data).split(b"\n")
                yield from lines
            if replaced or file is None:
                if file is not None:
                    file.close()
                file, aside, pending = _open(path), False, b""
                if file is not None:
                    continue
            if over:
                return
            time.sleep(POLL_SECONDS)
    finally:
        if file is not None:
            file.close()


def _open(path: Path) -> IO[bytes] | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _is_current(path: Path, file: IO[bytes]) -> bool:
    try:
        return path.stat().st_ino == os.fstat(file.fileno()).st_ino
    except FileNotFoundError:  # set aside, and nothing has happened since
        return True


def _decode(line: bytes) -> Happening | None:
    try:
        document = documents.decode(line, dict[str, Any])
        actor, nanoseconds = document["Actor"], int(document["timeNano"])
        moment = datetime.fromtimestamp(nanoseconds / SECOND, tz=UTC)
        kind, action = str(document["Type"]), str(document["Action"])
        document = {**_as_before(kind, action, actor), **document}
        return Happening(kind, action, str(actor["ID"]), actor["Attributes"], moment, nanoseconds, document)
    except (msgspec.DecodeError, KeyError, TypeError):  # written when the disk became full
        return None


def _as_before(kind: str, action: str, actor: Mapping[str, Any]) -> dict[str, str]:
    """What events of containers and images had before there were others; Docker still gives it, and scripts read it."""
    if kind not in {"container", "image"}:
        return {}
    image = actor["Attributes"].get("image")
    return {"status": action, "id": actor["ID"], **({"from": image} if kind == "container" and image else {})}


def matcher(filters: Sequence[str]) -> Callable[[Happening], bool]:
    """Whether an event matches: one of the filters with the same key, for every key."""
    keyed: dict[str, list[str]] = {}
    for text in filters:
        key, equals, value = text.partition("=")
        if not equals or key not in _KEYS:
            raise InvalidInput(f"invalid filter {text!r}", hint=f"filters are {', '.join(_KEYS)}, as event=die")
        keyed.setdefault(key, []).append(value)
    return lambda happening: all(
        any(_matches(happening, key, value) for value in values) for key, values in keyed.items()
    )


def _matches(happening: Happening, key: str, value: str) -> bool:
    attributes = happening.attributes
    match key:
        case "type":
            return happening.type == value
        case "scope":
            return value == "local"
        case "event":
            return value in {happening.action, happening.action.partition(":")[0]}
        case "label":
            name, given, wanted = value.partition("=")
            return name in attributes and (not given or attributes[name] == wanted)
        case "image":
            if happening.type == "image":
                names = {happening.id, attributes.get("name", "")}
            else:
                names = {attributes.get("image", "")}
            return value in names | {_without_tag(name) for name in names} and value != ""
        case _:
            return happening.type == key and (happening.id.startswith(value) or attributes.get("name") == value)


def _without_tag(name: str) -> str:
    front, colon, tag = name.rpartition(":")
    return front if colon and "/" not in tag else name
