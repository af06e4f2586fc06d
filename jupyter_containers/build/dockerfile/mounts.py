"""The value of ``RUN --mount``: comma-separated ``key=value`` pairs, quoted like a line of CSV."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Final

from jupyter_containers.build.dockerfile.instructions import Mount, MountType, Sharing
from jupyter_containers.build.dockerfile.words import ArgumentsError

if TYPE_CHECKING:
    from collections.abc import Callable

_ALIASES: Final = {
    "src": "source",
    "dst": "target",
    "destination": "target",
    "ro": "readonly",
    "rw": "readwrite",
}
SWITCHES: Final = frozenset({"readonly", "readwrite", "required"})
_EVERY: Final = frozenset({"type", "target", "readonly", "readwrite"})
ALLOWED: Final[dict[MountType, frozenset[str]]] = {
    MountType.BIND: _EVERY | {"source", "from"},
    MountType.CACHE: _EVERY | {"source", "from", "id", "sharing", "mode", "uid", "gid"},
    MountType.TMPFS: _EVERY | {"size"},
    MountType.SECRET: _EVERY | {"id", "required", "mode", "uid", "gid", "env"},
    MountType.SSH: _EVERY | {"id", "required", "mode", "uid", "gid"},
}
_KEYS: Final[frozenset[str]] = frozenset[str]().union(*ALLOWED.values())
_READONLY_BY_DEFAULT: Final = frozenset({MountType.BIND, MountType.SECRET, MountType.SSH})
_SIZE = re.compile(r"([0-9]{1,15})([kmgt]?)(?:i?b)?", re.IGNORECASE)
_OCTAL = re.compile(r"[0-7]{1,5}")
_NUMBER = re.compile(r"[0-9]{1,10}")


def parse_mount(text: str) -> Mount:
    """Read one mount, its variables resolved before.

    Raises
    ------
    ArgumentsError
        for an unknown key, one that the type does not take, or a bad value.
    """
    fields = _fields(text)
    kind = _mount_type(fields.get("type", "bind"))
    for key in fields:
        if key not in ALLOWED[kind]:
            raise ArgumentsError(f"unexpected key '{key}' for mount type '{kind.value}'")
    if kind is not MountType.SECRET and kind is not MountType.SSH and not fields.get("target"):
        raise ArgumentsError(f"a mount of type {kind.value} needs a target")
    readonly = kind in _READONLY_BY_DEFAULT
    if "readwrite" in fields:
        readonly = not _switch("readwrite", fields)
    if "readonly" in fields:
        readonly = _switch("readonly", fields)
    return Mount(
        kind,
        target=fields.get("target", ""),
        source=fields.get("source", ""),
        from_=fields.get("from", ""),
        id=fields.get("id", ""),
        readonly=readonly,
        required=_switch("required", fields) if "required" in fields else False,
        sharing=_sharing(fields.get("sharing", "shared")),
        size=_size(fields["size"]) if "size" in fields else 0,
        mode=int(_checked("mode", fields["mode"], _OCTAL), 8) if "mode" in fields else None,
        uid=int(_checked("uid", fields["uid"], _NUMBER)) if "uid" in fields else None,
        gid=int(_checked("gid", fields["gid"], _NUMBER)) if "gid" in fields else None,
        env=fields.get("env", ""),
    )


def expand_mount(text: str, expand: Callable[[str], str]) -> str:
    """A mount, as text, with the variables in its values resolved; ``from`` names a stage and may have none.

    Raises
    ------
    ArgumentsError
        as :func:`parse_mount` does.
    """
    parts: list[str] = []
    for part in _parts(text):
        key, equals, value = part.partition("=")
        if "$" in value and key.lower() == "from":
            raise ArgumentsError("'from' doesn't support variable expansion, define an alias stage instead")
        parts.append(key + equals + (expand(value) if equals else ""))
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(parts)
    parse_mount(out.getvalue())
    return out.getvalue()


def mount_origin(text: str) -> str | None:
    """The stage or image that a mount, as written, takes its files from.

    Raises
    ------
    ArgumentsError
        when the text is no line of CSV.
    """
    pairs = (part.partition("=") for part in _parts(text))
    return next((value for key, _, value in pairs if key.lower() == "from"), None)


def _parts(text: str) -> list[str]:
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise ArgumentsError(f"failed to parse mount {text!r}: {error}") from error
    return rows[0] if rows else []


def _fields(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for part in _parts(text):
        key, equals, value = part.partition("=")
        name = _ALIASES.get(key.lower(), key.lower())
        if name not in _KEYS:
            raise ArgumentsError(f"unexpected key '{key}' in '{part}'")
        if not equals and name not in SWITCHES:
            raise ArgumentsError(f"invalid field '{part}' must be a key=value pair")
        fields[name] = value if equals else "true"
    return fields


def _mount_type(text: str) -> MountType:
    try:
        return MountType(text.lower())
    except ValueError as error:
        raise ArgumentsError(f'unsupported mount type "{text}"') from error


def _sharing(text: str) -> Sharing:
    try:
        return Sharing(text.lower())
    except ValueError as error:
        raise ArgumentsError(f'unsupported sharing value "{text}"') from error


def _switch(name: str, fields: dict[str, str]) -> bool:
    value = fields[name].lower()
    if value in {"true", "1"}:
        return True
    if value in {"false", "0"}:
        return False
    raise ArgumentsError(f"invalid value for {name}: {fields[name]}")


def _checked(name: str, value: str, pattern: re.Pattern[str]) -> str:
    if not pattern.fullmatch(value):
        raise ArgumentsError(f"invalid value {value} for {name}")
    return value


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ArgumentsError(f"invalid value for size: {text}")
    return int(match[1]) << 10 * " kmgt".index(match[2].lower() or " ")
