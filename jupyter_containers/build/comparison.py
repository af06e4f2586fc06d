"""Where two images differ first: which step, which file, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_containers.build.interfaces import chain_ids
from jupyter_containers.build.selection import printable
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from jupyter_containers.build.options import BuildResult
    from jupyter_containers.layers.base import Node, Trees
    from jupyter_containers.oci.names import Digest

LIMIT = 64 << 20
"""Bytes of a file that are looked at to say where it differs."""

SHOWN = 60


@dataclass(frozen=True, slots=True)
class Difference:
    """The first difference of two builds: ``step`` is the instruction that made it, ``path`` the file, if it is one."""

    step: str
    line: int
    path: str
    detail: str

    def __str__(self) -> str:
        """One line."""
        where = f"{self.path} of " if self.path else ""
        return f"{where}{self.step} (line {self.line}): {self.detail}"


def first_difference(
    trees: Trees, dirs: Callable[[Sequence[Digest]], list[Path]], first: BuildResult, second: BuildResult
) -> Difference | None:
    """Compare what two builds of one Dockerfile made; None when they made the same.

    ``dirs`` gives the directories of unpacked layers, top first.
    """
    for number, (one, two) in enumerate(zip(first.layers, second.layers, strict=False)):
        if one.diff_id == two.diff_id:
            continue
        step, line = _made(first, number)
        chains = [chain_ids(result.layers[: number + 1]) for result in (first, second)]
        layers = [dirs(chain)[:1] for chain in chains]
        path, detail = _compare(trees, layers[0], layers[1])
        return Difference(step, line, path, detail)
    if len(first.layers) != len(second.layers):
        number = min(len(first.layers), len(second.layers))
        longer = first if len(first.layers) > number else second
        return Difference(*_made(longer, number), "", "a step changed files in one of the builds only")
    if first.image_id != second.image_id:
        return Difference("the configuration", 0, "", "history or settings differ")
    return None


def _made(result: BuildResult, number: int) -> tuple[str, int]:
    """The step that made a layer."""
    for report in result.steps:
        if report.made == result.layers[number].diff_id:
            return report.text, report.source.first
    return "FROM", 1


def _compare(trees: Trees, one: Sequence[Path], two: Sequence[Path]) -> tuple[str, str]:
    before = {node.path: node for node in trees.walk(one, "", hashes=True)}
    after = {node.path: node for node in trees.walk(two, "", hashes=True)}
    for path in sorted(before.keys() | after.keys()):
        left, right = before.get(path), after.get(path)
        if left is None or right is None:
            return f"/{printable(path)}", f"is there in the {'second' if left is None else 'first'} build only"
        detail = _differs(trees, one, two, left, right)
        if detail:
            return f"/{printable(path)}", detail
    return "", "the archives differ in extended attributes, links or order"


def _differs(trees: Trees, one: Sequence[Path], two: Sequence[Path], left: Node, right: Node) -> str:
    facts = (
        ("kind", left.kind, right.kind),
        ("mode", f"{left.mode:o}", f"{right.mode:o}"),
        ("owner", f"{left.uid}:{left.gid}", f"{right.uid}:{right.gid}"),
        ("target", left.target, right.target),
    )
    for name, old, new in facts:
        if old != new:
            return f"its {name} is {old} in one build and {new} in the other"
    if left.sha256 != right.sha256:
        if max(left.size, right.size) > LIMIT:
            return f"its content differs ({left.size} and {right.size} bytes)"
        return _content(trees.read(one, left.path, limit=LIMIT), trees.read(two, right.path, limit=LIMIT))
    if left.kind != "dir" and left.mtime != right.mtime:
        return "its modification time differs"
    return ""


def _content(old: bytes, new: bytes) -> str:
    at = next((index for index, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    line = old.count(b"\n", 0, at)
    if b"\0" in old[:4096]:
        return f"its content differs at byte {at}: {old[at : at + 8].hex()} and {new[at : at + 8].hex()}"
    shown = [data.split(b"\n")[line][:SHOWN].decode("utf-8", "replace") for data in (old, new)]
    return f"its line {line + 1} is {shown[0]!r} in one build and {shown[1]!r} in the other"
