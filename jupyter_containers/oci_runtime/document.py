"""JSON documents without the ``json`` module, which costs more to import than most operations take.

The scanner and the quoting are the C halves of that module. Source: RFC 8259.
"""

from __future__ import annotations

from _json import make_scanner

from jupyter_containers.oci_runtime.failure import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LARGEST = 64 << 20
_BLANK = " \t\n\r"


class _Rules:
    """What the scanner asks of its context."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    memo: dict[str, str] = {}  # noqa: RUF012 - the scanner's own

    @staticmethod
    def parse_constant(name: str) -> Any:
        raise ValueError(f"{name} is no JSON")


_scan = make_scanner(_Rules)  # type: ignore[arg-type]  # the stub asks for a JSONDecoder


def parse(text: str, what: str) -> Any:
    """The value of a document.

    Raises
    ------
    CommandError
        It is no JSON; ``what`` says what it should have been.
    """
    begin = len(text) - len(text.lstrip(_BLANK))
    try:
        value, end = _scan(text, begin)
    except (ValueError, StopIteration, RecursionError) as error:
        raise CommandError(f"{what} is no JSON document: {error}") from None
    if text[end:].strip(_BLANK):
        raise CommandError(f"{what} is no JSON document: something follows it")
    return value


def read_bytes(path: str) -> bytes:
    """A file. Raises :exc:`CommandError` where there is none, or it cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return _read_all(file)
    except OSError as error:
        raise CommandError(f"open {path}: {(error.strerror or '').lower()}") from None


def read(path: str, what: str = "") -> dict[str, Any]:
    """The object a file holds. Raises :exc:`CommandError` where it holds something else, or cannot be read."""
    return parse_object(read_bytes(path), what or path)


def parse_object(data: bytes, what: str) -> dict[str, Any]:
    """The object that some bytes are the text of. Raises :exc:`CommandError` if they are not."""
    try:
        value = parse(data.decode(), what)
    except UnicodeDecodeError:
        raise CommandError(f"{what} is not UTF-8") from None
    if not isinstance(value, dict):
        raise CommandError(f"{what} is no JSON object")
    return value


def without_null(value: Any) -> Any:
    """A value without what is null in it, as Go programs write "not given"."""
    if isinstance(value, dict):
        return {key: without_null(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_null(item) for item in value]
    return value


def _read_all(file: Any) -> bytes:
    parts, size = [], 0
    while part := file.read(1 << 20):
        parts.append(part)
        size += len(part)
        if size > _LARGEST:
            raise CommandError(f"{file.name} is larger than {_LARGEST >> 20} MiB")
    return b"".join(parts)
