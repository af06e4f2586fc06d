"""The store's journal of events: one JSON object a line, as Docker's ``events`` prints them, written by many processes.

A line is written by one write(2) to a file opened for appending, so lines of several writers never mix. A file that has
grown to its limit is set aside under the name ``.1``, of which there is one: the journal's size is bounded.
"""

from __future__ import annotations

import fcntl
import os
from time import time_ns

from jupyter_containers.monitor import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

NAME = "events.jsonl"
LARGEST = 1 << 20
_SECOND = 1_000_000_000


def line(kind: str, action: str, identity: str, attributes: Mapping[str, Any], moment: int) -> bytes:
    """One event: ``kind`` is ``container``, ``image`` ..., ``moment`` is ns since the epoch."""
    event = {
        "Type": kind,
        "Action": action,
        "Actor": {"ID": identity, "Attributes": dict(attributes)},
        "scope": "local",
        "time": moment // _SECOND,
        "timeNano": moment,
    }
    return (record.text(event) + "\n").encode("utf-8", "surrogateescape")


def append(path: str, kind: str, action: str, identity: str, attributes: Mapping[str, Any]) -> None:
    """Write down that something happened now. A disk that is full loses the event and nothing else."""
    append_all(path, [(kind, action, identity, attributes)])


def append_all(path: str, events: Iterable[tuple[str, str, str, Mapping[str, Any]]]) -> None:
    """Write down that several things happened now, in this order and with nothing between them."""
    data = b"".join(line(kind, action, identity, about, time_ns()) for kind, action, identity, about in events)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError:  # the store was removed, or its disk is full or read-only
        return
    try:
        if os.fstat(descriptor).st_size >= LARGEST:
            _set_aside(path, descriptor)
            os.close(descriptor)
            descriptor = os.open(path, flags, 0o600)
        os.write(descriptor, data)
    except OSError:
        return
    finally:
        os.close(descriptor)


def _set_aside(path: str, descriptor: int) -> None:
    """Rename the file, unless another process has just done so."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    here = os.fstat(descriptor)
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return
    if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
        os.rename(path, f"{path}.1")
