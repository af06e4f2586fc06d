"""Whole Dockerfiles and what is understood of them, as plain text beside each other.

``python -m tests.unit.build.dockerfile.test_corpus --regenerate`` writes the ``.expected`` files anew; the difference
is then there for review.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.build import dockerfile
from jupyter_containers.build.dockerfile.instructions import Onbuild
from jupyter_containers.errors import DockerfileError, UsageError
from jupyter_containers.oci.names import Platform

if TYPE_CHECKING:
    from jupyter_containers.build.dockerfile import Dockerfile, Instruction, Stage

CASES = Path(__file__).parents[3] / "corpus" / "dockerfile" / "cases"
NAMES = sorted(path.stem for path in CASES.glob("*.dockerfile"))
AMD64 = Platform("linux", "amd64")


def read(name: str) -> str:
    """The text of a case with its line ends as they are."""
    return (CASES / f"{name}.dockerfile").read_bytes().decode()


def describe(text: str) -> str:
    """All that the front end says about a file."""
    try:
        parsed = dockerfile.parse(text)
    except DockerfileError as error:
        return f"error: {error.message}\n"
    lines = [f"directive {directive.name} = {directive.value}" for directive in parsed.directives]
    for instruction in parsed.instructions:
        lines += _instruction(instruction)
    return "\n".join([*lines, *_plan(parsed), ""])


def _instruction(instruction: Instruction) -> list[str]:
    where = instruction.source
    lines = [f"{where.first}-{where.last} {instruction.keyword}"]
    lines += _fields(instruction, "    ")
    node = instruction.node
    if node.comments:
        lines.append(f"    below comments: {list(node.comments)}")
    if node.empty_lines:
        lines.append(f"    empty lines: {list(node.empty_lines)}")
    missing = dockerfile.unsupported(instruction)
    return [*lines, f"    not supported: {missing}"] if missing else lines


def _fields(instruction: Instruction, indent: str) -> list[str]:
    lines: list[str] = []
    for field in dataclasses.fields(instruction):
        value = getattr(instruction, field.name)
        if field.name == "node" or value == field.default:
            continue
        if isinstance(instruction, Onbuild) and field.name == "instruction":
            lines.append(f"{indent}{instruction.instruction.keyword}")
            lines += _fields(instruction.instruction, indent + "    ")
        else:
            lines.append(f"{indent}{field.name.rstrip('_')}: {value!r}")
    return lines


def _plan(parsed: Dockerfile) -> list[str]:
    try:
        plan = dockerfile.plan_stages(parsed.instructions, escape=parsed.escape, platform=AMD64)
    except (DockerfileError, UsageError) as error:
        return [f"plan: error: {error.message}", *([f"    hint: {error.hint}"] if error.hint else [])]
    lines = [f"stage {_stage(stage)}" for stage in plan.stages]
    lines.append(f"order: {' '.join(stage.title for stage in plan.order)}")
    if plan.unused:
        lines.append(f"unused: {' '.join(stage.title for stage in plan.unused)}")
    if plan.unset:
        lines.append(f"unset: {' '.join(plan.unset)}")
    return lines


def _stage(stage: Stage) -> str:
    base = f"image {stage.start.image}" if stage.base_stage is None else f"stage {stage.base_stage}"
    platform = f" for {stage.platform}" if stage.platform else ""
    needs = f" needs {list(stage.needs)}" if stage.needs else ""
    return f"{stage.index} ({stage.title}): {base}{platform}{needs}"


def test_the_corpus_is_complete() -> None:
    assert len(NAMES) >= 150
    assert {path.stem for path in CASES.glob("*.expected")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_case(name: str) -> None:
    assert describe(read(name)) == (CASES / f"{name}.expected").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_printing_a_case_keeps_its_meaning(name: str) -> None:
    try:
        parsed = dockerfile.parse(read(name))
    except DockerfileError:
        assert (CASES / f"{name}.expected").read_text(encoding="utf-8").startswith("error: ")
        return
    nodes = [instruction.node for instruction in parsed.instructions]
    printed = dockerfile.print_nodes(parsed.directives, nodes, escape=parsed.escape)
    assert dockerfile.parse(printed) == parsed
    tree = dockerfile.parse_tree(printed)
    assert dockerfile.print_tree(tree) == printed


if __name__ == "__main__" and "--regenerate" in sys.argv:
    for case in NAMES:
        (CASES / f"{case}.expected").write_text(describe(read(case)), encoding="utf-8")
