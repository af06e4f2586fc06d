"""Which network a container gets, its address there, and the files that tell it about names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_containers.errors import Unsupported

if TYPE_CHECKING:
    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.engine.record import ContainerRecord

MODES = ("bridge", "none", "host")


def choose(parts: Parts, wanted: str | None) -> tuple[str, list[str]]:
    """The network to use, and what the user should know about it."""
    if wanted in {None, "default", "bridge"}:
        return "none", []
    if wanted not in MODES:
        raise Unsupported(f"there is no network {wanted!r}", hint=f"use one of {', '.join(MODES)}")
    assert wanted is not None
    return wanted, []


def attach(parts: Parts, record: ContainerRecord) -> None:
    return None


def files(parts: Parts, record: ContainerRecord, attachment: object) -> list[tuple[str, str, bytes]]:
    return [("/etc/hostname", "hostname", f"{record.hostname}\n".encode())]


def connected(parts: Parts, record: ContainerRecord, pid: int) -> None:
    return None
