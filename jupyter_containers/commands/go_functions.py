"""What Docker's templates can call, and how Go prints values. Values are what JSON has."""

from __future__ import annotations

import json
import operator
import re
from typing import TYPE_CHECKING, Any, Final

from jupyter_containers.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

_VERB: Final = re.compile(r"%(-?\d*)(?:\.(\d+))?([vsdqftx%])")


class Nil:
    """A list, map or pointer of Go's that is not there: nothing is in it, and it has a text for what it is."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __len__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return other is None or isinstance(other, Nil)

    __hash__ = None  # type: ignore[assignment]  # it is equal to None, and no key


class Loose(dict[str, Any]):
    """A map of texts: what is not in it is no mistake in a template, but ``<no value>``."""

    def __contains__(self, _name: object) -> bool:
        return True

    def __missing__(self, _name: str) -> None:
        return None


def shown(value: Any) -> str:
    """A value as Go prints it: ``[a b]``, ``map[k:v]``, ``true``, ``<no value>``."""
    if value is None or isinstance(value, Nil):
        return "<no value>" if value is None else value.text
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{_inner(each)}' for key, each in sorted(value.items()))}]"
    if isinstance(value, list | tuple):
        return f"[{' '.join(map(_inner, value))}]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _inner(value: Any) -> str:
    if value == {} and isinstance(value, dict):
        return "{}"  # within a map it is a struct without fields: a port, a place of a volume
    return "<nil>" if value is None else shown(value)


def truth(value: Any) -> bool:
    """Whether a condition holds: not empty, not zero, not nil."""
    return bool(value)


def lookup(value: Any, name: str) -> Any:
    """A field of a value.

    Raises
    ------
    InvalidInput
        when it has none of that name.
    """
    if isinstance(value, dict) and name in value:
        return value[name]
    known = f"there is {', '.join(value)}" if isinstance(value, dict) and value else None
    raise InvalidInput(f"there is no field {name!r} for a template", hint=known)


def _json(value: Any) -> str:
    if isinstance(value, dict):
        value = {name: each for name, each in value.items() if not callable(each)}  # a method is no field
    return json.dumps(
        value,
        ensure_ascii=False,
        separators=(",", ":"),
        default=lambda each: None if isinstance(each, Nil) else str(each),
    )


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, Nil):
            return ""
        value = value.get(key, "") if isinstance(value, dict) else value[key]
    return value


def _slice(value: Any, *ends: int) -> Any:
    return value[slice(*ends)] if len(ends) > 1 else value[ends[0] if ends else 0 :]


def _title(text: str) -> str:
    return re.sub(r"\b\w", lambda match: match[0].upper(), text)


def _pad(text: str, before: int, after: int) -> str:
    return f"{' ' * before}{text}{' ' * after}" if text else text


def _printf(form: str, *values: Any) -> str:
    left = list(values)

    def one(match: re.Match[str]) -> str:
        width, places, verb = match.groups()
        if verb == "%":
            return "%"
        value = left.pop(0)
        if verb == "q":
            text = json.dumps(str(value), ensure_ascii=False)
        elif verb == "f":
            text = f"{float(value):.{places or 6}f}"
        elif verb == "x":
            text = f"{value:x}" if isinstance(value, int) else str(value).encode().hex()
        else:
            text = shown(value)
        count = abs(int(width)) if width.strip("-") else 0
        return text.ljust(count) if width.startswith("-") else text.rjust(count)

    return _VERB.sub(one, form)


def _all(*values: Any) -> Any:
    return next((value for value in values if not truth(value)), values[-1])


def _any(*values: Any) -> Any:
    return next((value for value in values if truth(value)), values[-1])


FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "json": _json,
    "join": lambda values, separator: separator.join(map(shown, values or ())),
    "split": lambda text, separator: text.split(separator),
    "title": _title,
    "lower": str.lower,
    "upper": str.upper,
    "pad": _pad,
    "truncate": lambda text, length: text[:length],
    "println": lambda *values: f"{' '.join(map(shown, values))}\n",
    "print": lambda *values: " ".join(map(shown, values)),
    "printf": _printf,
    "len": len,
    "index": _index,
    "slice": _slice,
    "eq": lambda first, *others: any(first == other for other in others),
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "and": _all,
    "or": _any,
    "not": operator.not_,
}
