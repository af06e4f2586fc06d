"""docs/security.md names for each claim the test that shows it: all of them exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/security.md"
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@cache
def functions(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_the_tests_it_names_exist() -> None:
    named = _TEST.findall(PAGE.read_text(encoding="utf-8"))
    assert len(named) > 25
    missing = [f"{path}::{name}" for path, name in named if name not in functions(path)]
    assert not missing


def test_every_test_of_the_hostile_set_is_named() -> None:
    named = {name for path, name in _TEST.findall(PAGE.read_text(encoding="utf-8")) if path.endswith("test_hostile.py")}
    tests = {name for name in functions("tests/runtime/test_hostile.py") if name.startswith("test_")}
    assert tests - named == {"test_every_attempt_is_looked_at"}


def test_every_claim_has_its_test() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    claims = [row for row in rows if "shown by" not in row and "---" not in row and row.count("|") > 2]
    bare = [row for row in claims if not _TEST.search(row)]
    assert [row.split("|")[1].strip() for row in bare] == [
        "trusted",
        "the kernel, this package, its interpreter, who calls it",
        "what the caller asks for: `--privileged`, `-v /:/host`, `--pid host` give away what they say",
    ]
