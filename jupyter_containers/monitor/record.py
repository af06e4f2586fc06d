"""Small JSON files written by the small processes, without the ``json`` module: it costs milliseconds to import."""

from __future__ import annotations

import os
from _json import encode_basestring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def text(value: Any) -> str:
    """A value of dictionaries, lists, strings, numbers, booleans and None as JSON (RFC 8259)."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{encode_basestring(str(key))}:{text(item)}" for key, item in value.items()) + "}"
    return "[" + ",".join(map(text, value)) + "]"


def write(path: str, value: Any, mode: int = 0o600) -> None:
    """Write a file in one step: it has its old content or all of the new one, whenever the writer is killed.

    Not forced to disk: after a power failure no container runs any more, and a reader takes an empty record for none.
    """
    temporary = f"{path}.{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        os.write(descriptor, _encoded(value))
    except OSError:
        os.unlink(temporary)
        raise
    finally:
        os.close(descriptor)
    os.rename(temporary, path)


def write_over(old: str, path: str, value: Any) -> None:
    """Make the file ``old`` the record ``path`` without asking for space: for a full disk. Raises OSError."""
    descriptor = os.open(old, os.O_WRONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        # Under its new name the old content is no record of an end, and the new one is written by a single call.
        os.rename(old, path)
        os.pwrite(descriptor, _encoded(value).ljust(size), 0)
    finally:
        os.close(descriptor)


def _encoded(value: Any) -> bytes:
    return (text(value) + "\n").encode("utf-8", "surrogateescape")
