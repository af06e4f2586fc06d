"""JSON as typed values, read by several threads at once.

msgspec learns a class when it first reads one, and gives the interpreter to other threads while it does: one that reads
the same class meanwhile takes what is half known, and the process crashes. So each kind is learned under one lock.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
_LEARNING = threading.Lock()
_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {}


def decode(data: bytes | str, kind: type[T]) -> T:
    """Read a JSON document of a kind: a struct, ``dict[str, str]``, ``list[...]``.

    Raises
    ------
    msgspec.DecodeError
        for anything else than such a document.
    """
    decoder = _DECODERS.get(kind)
    if decoder is None:
        with _LEARNING:
            decoder = _DECODERS.setdefault(kind, msgspec.json.Decoder(kind))
    value: T = decoder.decode(data)
    return value
