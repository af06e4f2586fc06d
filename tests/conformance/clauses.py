"""The table of docs/conformance.md: each clause of the runtime specification that applies, and the tests of it.

A test names what it tests by ``@pytest.mark.clause(document, section, paraphrase)``; the table is made of these marks
by ``python -m tests.conformance.clauses``.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
TABLE = HERE.parents[1] / "docs/conformance.md"
DOCUMENTS = ("runtime.md", "runtime-linux.md", "config.md", "config-linux.md", "features.md", "features-linux.md")

_HEAD = """# Conformance

What the OCI runtime specification 1.3 demands of a runtime on Linux, in our own words, and the test that shows it. The
tests are in `tests/conformance/`; they run with `jupyter-container-runtime`, and with runc and crun where those are
installed, which tests the tests. Made by `python -m tests.conformance.clauses` from the marks of the tests.

What is refused, each with an error that names the field:

- a container without a mount namespace of its own (config-linux.md has it share that of the runtime, or one given by
  path): its mounts would be made in somebody else's file tree, and stay there;
- `linux.intelRdt`: no resctrl file system is written to;
- `SCMP_ACT_NOTIFY` for `sendmsg` and `recvmsg`, or as the default action: the runtime hands over the listener by them;
- device rules that cgroup version 1 cannot apply in their order, and limits the kernel has no controller or file for;
- the flags `SCHED_FLAG_UTIL_CLAMP_MIN` and `_MAX`, for whose values the specification has no field.
"""


class Clause(NamedTuple):
    """A test and what it tests."""

    document: str
    section: str
    text: str
    test: str


def collect(directory: Path = HERE) -> list[Clause]:
    """The clauses of all tests, in the order of the files."""
    return [clause for file in sorted(directory.glob("test_*.py")) for clause in _of(file)]


def _of(file: Path) -> list[Clause]:
    found = []
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
            continue
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.clause":
                document, section, text = (ast.literal_eval(argument) for argument in mark.args)
                found.append(Clause(document, section, text, f"{file.stem}::{node.name}"))
    return found


def unmarked(directory: Path = HERE) -> list[str]:
    """Tests with a runtime that do not say what clause they are of."""
    missing = []
    for file in sorted(directory.glob("test_*.py")):
        marked = {clause.test for clause in _of(file)}
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
                continue
            name = f"{file.stem}::{node.name}"
            if name not in marked and any(argument.arg == "runtime" for argument in node.args.args):
                missing.append(name)
    return missing


def table(clauses: list[Clause]) -> str:
    """The document."""
    parts = [_HEAD]
    for document in DOCUMENTS:
        rows: dict[tuple[str, str], list[str]] = {}
        for clause in clauses:
            if clause.document == document:
                rows.setdefault((clause.section, clause.text), []).append(clause.test)
        if rows:
            parts.append(f"\n## {document}\n\n| section | demand | test |\n| --- | --- | --- |\n")
            for (section, text), tests in rows.items():
                parts.append(f"| {section} | {text} | {', '.join(f'`{test}`' for test in tests)} |\n")
    return "".join(parts)


if __name__ == "__main__":
    TABLE.write_text(table(collect()), encoding="utf-8")
