"""The repository's own rules: what is tracked, what the documents promise, one source for each fact."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

import jupyter_containers

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "jupyter_containers"
PUBLIC = ["Container", "Engine", "EngineError", "Image", "RunResult", "__version__"]

# Machine paths and hosts of package registries; written so that this file does not match itself.
FORBIDDEN = re.compile(
    r"/wor[k]/|/far[m]/|/root/\.|/home/[a-z]+/|py[p]i\.org|python[h]osted|npm[j]s\.|debia[n]\.org|ubunt[u]\.com"
)
UNFINISHED = re.compile(r"\b(TOD[O]|FIXM[E]|XX[X]|HAC[K])\b|raise NotImplemented[E]rror")
LARGEST_MODULE = 600


def tracked(*patterns: str) -> list[Path]:
    """The files git tracks; all files below the root where this is no checkout."""
    done = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), "ls-files", "-z", *patterns],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip("this is no git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def offences(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    found = []
    for path in paths:
        try:
            content = text(path)
        except UnicodeDecodeError:
            continue  # an image
        for number, line in enumerate(content.splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}")
    return found


def test_no_machine_path_or_registry_host_is_tracked() -> None:
    assert offences(FORBIDDEN, tracked()) == []


def test_the_pattern_of_forbidden_names_finds_them() -> None:
    samples = ["/wor" + "k/main", "/root/" + ".cache", "https://py" + "pi.org/simple"]
    assert all(FORBIDDEN.search(sample) for sample in samples)


def test_nothing_is_unfinished() -> None:
    assert offences(UNFINISHED, tracked("*.py", "dev", ".ci/run")) == []


@pytest.mark.parametrize("name", ["LICENSE", "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_the_usual_documents_are_there(name: str) -> None:
    assert len(text(ROOT / name)) > 500


def test_the_licence_is_the_one_the_metadata_names() -> None:
    assert project()["license"] == "BSD-3-Clause"
    licence = text(ROOT / "LICENSE")
    assert licence.startswith("BSD 3-Clause License")
    assert "The jupyter_containers authors" in licence


def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads(text(ROOT / "pyproject.toml"))["project"]
    return table


def test_the_version_has_one_source() -> None:
    assert project()["dynamic"] == ["version"]
    version = re.compile(rf"(?<![\d.]){re.escape(jupyter_containers.__version__)}(?![\d.])")
    elsewhere = [line for line in offences(version, tracked("jupyter_containers/*.py")) if "version.py" not in line]
    assert elsewhere == []


def test_the_public_names_are_these() -> None:
    assert sorted(jupyter_containers.__all__) == PUBLIC
    assert dir(jupyter_containers) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_can_be_had(name: str) -> None:
    assert getattr(jupyter_containers, name) is not None


def test_every_dependency_has_its_reason() -> None:
    reasons = text(ROOT / "docs" / "decisions" / "0002-dependencies.md")
    names = [re.split(r"[ <>=!;\[]", line)[0] for line in project()["dependencies"]]
    names += [re.split(r"[ <>=!;\[]", line)[0] for line in project()["optional-dependencies"]["dev"]]
    assert [name for name in names if f"`{name}`" not in reasons] == []


def test_the_architecture_names_every_package_and_module() -> None:
    architecture = text(ROOT / "ARCHITECTURE.md")
    names = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in tracked("jupyter_containers/*.py")}
    missing = [name for name in sorted(names - {"__init__", "__main__"}) if f"{name}" not in architecture]
    assert missing == []


def test_files_that_the_architecture_names_exist() -> None:
    architecture = re.sub(r"## On disk.*?(?=^## )", "", text(ROOT / "ARCHITECTURE.md"), flags=re.DOTALL | re.MULTILINE)
    named = set(re.findall(r"`((?:[a-z_]+/)+[a-z_]*(?:\.py)?|[a-z_]+\.py)`", architecture))
    assert named
    missing = [name for name in sorted(named) if not ((PACKAGE / name).exists() or (ROOT / name).exists())]
    assert missing == []


def test_the_readme_has_exactly_two_commands() -> None:
    block = re.compile(r"^(?: {4}|\t)(\S[^\n]*)$|^```(?:\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
    commands = [line for one, many in block.findall(text(ROOT / "README.md")) for line in (one or many).splitlines()]
    assert commands == ["./dev demo", "./dev test"]


def test_links_between_documents_lead_somewhere() -> None:
    broken = []
    for page in tracked("*.md"):
        for target in re.findall(r"!?\[[^\]]*\]\(([^)\s]+)\)", text(page)):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            goal = (page.parent / path) if path else page
            if not goal.exists() or (anchor and anchor not in anchors(goal)):
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as forges make them."""
    headings = re.findall(r"^#+ +(.*)$", text(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_decisions_have_their_four_parts() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert len(pages) >= 6
    for number, page in enumerate(pages, 1):
        assert page.name.startswith(f"{number:04}-")
        for part in ("**Problem.**", "**Options.**", "**Choice.**", "**How to undo it.**"):
            assert part in text(page), f"{page.name} lacks {part}"


def test_modules_are_of_a_size_to_be_read() -> None:
    sizes = {
        path: len(text(path).splitlines()) for path in tracked("jupyter_containers/*.py", "tools/*.py", "tests/*.py")
    }
    assert {str(path.relative_to(ROOT)): size for path, size in sizes.items() if size > LARGEST_MODULE} == {}


def test_no_module_has_a_name_that_says_nothing() -> None:
    nothing = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert [str(path) for path in tracked("*.py") if path.stem in nothing or path.parent.name in nothing] == []


def test_notebooks_are_kept_without_outputs() -> None:
    for path in tracked("notebooks/*.ipynb"):
        for cell in json.loads(text(path))["cells"]:
            if cell["cell_type"] == "code":
                assert cell["outputs"] == [], f"{path.name} has outputs"
                assert cell["execution_count"] is None


def test_every_test_asserts_something() -> None:
    """A test says what must hold: by assert, ``pytest.raises`` or a function whose name says that it checks."""
    idle = []
    for path in tracked("tests/*.py"):
        tree = ast.parse(text(path))
        idle += [
            f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name.startswith("test_")
            and not any(checks(inner) for inner in ast.walk(node))
        ]
    assert idle == []


def checks(node: ast.AST) -> bool:
    if isinstance(node, ast.Assert):
        return True
    if not isinstance(node, ast.Call):
        return False
    name = ast.unparse(node.func)
    return name in {"pytest.raises", "pytest.warns", "pytest.fail"} or bool(
        re.search(r"(^|[._])(assert|check|expect|verify|wait_until|validate)", name)
    )
