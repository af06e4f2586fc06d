"""Small building blocks to check documents: each is a function of a value and its path that returns the value, cleaned.

A ``null`` counts as a field that is not given, as in the programs that write these documents.
"""

from __future__ import annotations

from jupyter_containers.errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    Check = Callable[[Any, str], Any]

_NAMES = {dict: "an object", list: "an array", str: "a string", bool: "true or false", int: "a whole number"}


def fail(path: str, text: str) -> InvalidInput:
    """The error for a field."""
    return InvalidInput(f"{path}: {text}")


def _typed(value: Any, kind: type, path: str) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise fail(path, f"not {_NAMES[kind]}: {value!r:.60}")
    return value


def text(is_right: Callable[[str], bool] | None = None, what: str = "") -> Check:
    """A string without NUL for which ``is_right`` holds, which means that it is ``what``."""

    def check(value: Any, path: str) -> str:
        found: str = _typed(value, str, path)
        if "\0" in found:
            raise fail(path, "holds a NUL byte")
        if is_right and not is_right(found):
            raise fail(path, f"{found!r} is not {what}")
        return found

    return check


def boolean(value: Any, path: str) -> bool:
    """True or false."""
    return bool(_typed(value, bool, path))


def whole(least: int, most: int) -> Check:
    """A whole number in a range."""

    def check(value: Any, path: str) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # some writers of JSON know no other numbers
        found: int = _typed(value, int, path)
        if not least <= found <= most:
            raise fail(path, f"{found} is not from {least} to {most}")
        return found

    return check


def choice(names: Iterable[str]) -> Check:
    """One of some strings."""
    known = tuple(names)

    def check(value: Any, path: str) -> str:
        found: str = _typed(value, str, path)
        if found not in known:
            raise fail(path, f"{found!r} is not one of {', '.join(known)}")
        return found

    return check


def array(item: Check, *, least: int = 0) -> Check:
    """An array of ``least`` or more items."""

    def check(value: Any, path: str) -> list[Any]:
        found = [item(each, f"{path}[{number}]") for number, each in enumerate(_typed(value, list, path))]
        if len(found) < least:
            raise fail(path, f"needs at least {least} entr{'y' if least == 1 else 'ies'}")
        return found

    return check


def mapping(item: Check) -> Check:
    """An object whose keys are free."""

    def check(value: Any, path: str) -> dict[str, Any]:
        found = {key: item(each, f"{path}.{key}") for key, each in _typed(value, dict, path).items()}
        if "" in found:
            raise fail(path, "holds an empty name")
        return found

    return check


def record(fields: Mapping[str, Check], *required: str) -> Check:
    """An object of known fields; others are left as they are (config.md, "Extensibility")."""

    def check(value: Any, path: str) -> dict[str, Any]:
        prefix = f"{path}." if path else ""
        given = {
            key: each for key, each in _typed(value, dict, path or "the configuration").items() if each is not None
        }
        for key in required:
            if key not in given:
                raise fail(f"{prefix}{key}", "is missing")
        return {key: fields[key](each, f"{prefix}{key}") if key in fields else each for key, each in given.items()}

    return check
