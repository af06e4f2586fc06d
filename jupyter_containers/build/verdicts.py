"""Why a step was not found in the cache: what differs between the material of two steps, as data and in words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jupyter_containers.build.keys import Material

NAMES_SHOWN: Final = 3

Status: TypeAlias = Literal["hit", "miss", "skipped"]
Subject: TypeAlias = Literal["file", "argument", "variable", "fact"]
Verb: TypeAlias = Literal["added", "removed", "changed"]

PARENT: Final = "parent"
NEVER_BUILT: Final = "never built"

# As selection.describe writes it: kind, mode, owner, content (for a link its target, for a device its numbers).
_FILE = re.compile(r"(\w+) ([0-7]+) (\d+:\d+)(?: +(.*))?", re.DOTALL)
_CONTENT: Final = {"symlink": "link target", "char": "device", "block": "device"}


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between the material of a step and of the step it is compared with; None: not there."""

    subject: Subject
    name: str
    before: str | None
    after: str | None

    @property
    def verb(self) -> Verb:
        """What became of it."""
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"

    @property
    def how(self) -> str:
        """How a file that changed differs: ``content``, ``mode 644 → 755, owner 0:0 → 1000:1000``; else empty."""
        if self.subject != "file" or self.before is None or self.after is None:
            return ""
        old, new = _FILE.fullmatch(self.before), _FILE.fullmatch(self.after)
        if old is None or new is None:
            return "content"
        kind = new[1]
        if old[1] != kind:
            return f"kind {old[1]} → {kind}"
        parts = [f"{what} {old[at]} → {new[at]}" for what, at in (("mode", 2), ("owner", 3)) if old[at] != new[at]]
        if old[4] != new[4]:
            shown = f" {old[4]} → {new[4]}" if kind in _CONTENT else ""
            parts.insert(0, f"{_CONTENT.get(kind, 'content')}{shown}")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a step came from the cache and, if not, why.

    Parameters
    ----------
    status
        ``hit``; ``miss``: it was made; ``skipped``: the target does not need it.
    key
        What was looked for in the cache.
    reason
        A short text for people, empty for a hit.
    changes
        What the reason says, as data.
    compared_with
        The key of the step it was compared with.
    """

    status: Status
    key: str = ""
    reason: str = ""
    changes: tuple[Change, ...] = ()
    compared_with: str = ""

    @property
    def cached(self) -> bool:
        """Whether it is a hit."""
        return self.status == "hit"

    @property
    def inherited(self) -> bool:
        """Whether nothing but what it builds on is another than before."""
        return bool(self.changes) and all(change.name == PARENT for change in self.changes)


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
        names = sorted(set(old) | set(new), key=lambda name: (name == PARENT, name))
        changes += [
            Change(subject, name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)
        ]
    return tuple(changes)


def describe(changes: Iterable[Change]) -> str:
    """The differences in a few words: ``file changed: app.py (content)``, ``argument VERSION changed``.

    A changed parent is mentioned only when nothing else changed. Values of arguments and variables are not: the text
    goes to logs.
    """
    changes = list(changes)
    own = [change for change in changes if (change.subject, change.name) != ("fact", PARENT)]
    parts: list[str] = []
    for verb in ("changed", "added", "removed"):
        files = [change for change in own if change.subject == "file" and change.verb == verb]
        if files:
            parts.append(f"file {verb}: {_some(files)}")
    for subject in ("argument", "variable"):
        parts += [f"{subject} {change.name} {change.verb}" for change in own if change.subject == subject]
    parts += [f"{change.name} {change.verb}" for change in own if change.subject == "fact"]
    return "; ".join(parts) or ("parent changed" if changes else "")


def _some(files: list[Change]) -> str:
    names = [f"{change.name} ({change.how})" if change.how else change.name for change in files]
    if len(names) <= NAMES_SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[:NAMES_SHOWN])} and {len(names) - NAMES_SHOWN} more"
