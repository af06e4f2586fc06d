"""Cache keys, and why a step was not found under its key.

A key is the digest of *material*: all a step depends on, written out. The material is kept with the result, so that a
step that is not found can be compared with the one that stood there before, and the difference named.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jupyter_containers.build.graph import CopyFiles, MakeDirectory, Run
    from jupyter_containers.oci.names import Digest

VERSION = 1
"""Part of every key: raised when the same material would give another layer."""

NAMES_SHOWN = 3

Subject: TypeAlias = Literal["file", "argument", "variable", "fact"]


class Material(msgspec.Struct, frozen=True):
    """All that decides what a step makes.

    ``facts`` are single settings (``parent``: the chain id it works on; ``command``, ``user``, ``workdir`` ...),
    ``files`` maps each file it reads to the digest of its content, mode and owner.
    """

    kind: str
    facts: dict[str, str]
    arguments: dict[str, str]
    variables: dict[str, str]
    files: dict[str, str]
    version: int = VERSION

    def key(self) -> str:
        """The cache key: 64 hexadecimal digits."""
        return hashlib.sha256(self.encode()).hexdigest()

    def encode(self) -> bytes:
        """The canonical JSON the key is the digest of."""
        return msgspec.json.encode(self, order="deterministic")

    @classmethod
    def decode(cls, data: bytes) -> Material:
        """Read what :meth:`encode` wrote; ``msgspec.DecodeError`` when it is something else."""
        return msgspec.json.decode(data, type=cls)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between the material of a step and of the step it is compared with; None: not there."""

    subject: Subject
    name: str
    before: str | None
    after: str | None

    @property
    def verb(self) -> str:
        """``added``, ``removed`` or ``changed``."""
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a step came from the cache and, if not, why.

    ``reason`` is a short text for people, empty for a cached step; ``changes`` is what it says as data, ``key`` what
    was looked for, ``compared_with`` the key of the step it was compared with.
    """

    cached: bool
    key: str = ""
    reason: str = ""
    changes: tuple[Change, ...] = ()
    compared_with: str = ""


def compare(before: Material, after: Material) -> tuple[Change, ...]:
    """What differs, the most telling first: files, build arguments, variables, settings, the parent."""
    changes: list[Change] = []
    tables: tuple[tuple[Subject, Mapping[str, str], Mapping[str, str]], ...] = (
        ("file", before.files, after.files),
        ("argument", before.arguments, after.arguments),
        ("variable", before.variables, after.variables),
        ("fact", before.facts, after.facts),
    )
    for subject, old, new in tables:
        names = sorted(set(old) | set(new), key=lambda name: (name == "parent", name))
        changes += [
            Change(subject, name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)
        ]
    return tuple(changes)


def describe(changes: Iterable[Change]) -> str:
    """The differences in a few words: ``file changed: app.py``, ``argument VERSION changed``, ``parent changed``.

    A changed parent is mentioned only when nothing else changed: the step before says why it did.
    """
    changes = list(changes)
    own = [change for change in changes if (change.subject, change.name) != ("fact", "parent")]
    parts: list[str] = []
    for verb in ("changed", "added", "removed"):
        names = [change.name for change in own if change.subject == "file" and change.verb == verb]
        if names:
            parts.append(f"file {verb}: {_some(names)}")
    for subject in ("argument", "variable"):
        parts += [f"{subject} {change.name} {change.verb}" for change in own if change.subject == subject]
    parts += [f"{change.name} {change.verb}" for change in own if change.subject == "fact"]
    return "; ".join(parts) or ("parent changed" if changes else "")


def _some(names: list[str]) -> str:
    if len(names) <= NAMES_SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[:NAMES_SHOWN])} and {len(names) - NAMES_SHOWN} more"


# -- material of the operations --------------------------------------------------------------------------------------


def run_material(operation: Run, *, parent: Digest | None, platform: str) -> Material:
    """What a RUN depends on: the file system below, the command, its environment; proxies are left out."""
    arguments = {name: value for name, value in operation.env if name in operation.arguments}
    return Material(
        "run",
        facts={
            "parent": str(parent or ""),
            "command": msgspec.json.encode(operation.argv).decode(),
            "working directory": operation.cwd,
            "user": operation.user,
            "network": operation.network,
            "hosts": msgspec.json.encode(operation.extra_hosts).decode(),
            "platform": platform,
            "timestamp": str(operation.timestamp),
        },
        arguments=arguments,
        variables={name: value for name, value in operation.env if name not in arguments},
        files={script.path: f"sha256:{hashlib.sha256(script.data).hexdigest()}" for script in operation.scripts},
    )


def copy_material(operation: CopyFiles, *, parent: Digest | None, files: Mapping[str, str]) -> Material:
    """What a COPY or ADD depends on: the file system below, the chosen files by content, where and how they go."""
    return Material(
        "copy",
        facts={
            "parent": str(parent or ""),
            "destination": operation.destination,
            "owner": operation.chown,
            "mode": operation.chmod,
            "extraction": str(operation.unpack),
            "timestamp": str(operation.timestamp),
        },
        arguments={},
        variables={},
        files=dict(files),
    )


def directory_material(operation: MakeDirectory, *, parent: Digest | None) -> Material:
    """What a WORKDIR depends on."""
    return Material(
        "directory",
        facts={
            "parent": str(parent or ""),
            "directory": operation.path,
            "user": operation.user,
            "timestamp": str(operation.timestamp),
        },
        arguments={},
        variables={},
        files={},
    )
