from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from jupyter_containers.engine import Container
from jupyter_containers.errors import CellFailed, CommandNotFound, NotFound, Unsupported, UsageError
from jupyter_containers.notebook import grammar
from jupyter_containers.notebook.attendance import arrange
from tests.support.fake_engine import CONTAINER_ID, FakeEngine, result

Shell = Any
CONTAINER = Container(CONTAINER_ID, "web", "image")


class Files:
    """The files of a container, in a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self) -> Any:
        return nullcontext(self)

    def _at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def make_directory(self, path: str, mode: int = 0o755) -> None:
        del mode
        self._at(path).mkdir(parents=True, exist_ok=True)

    def write(self, path: str, data: bytes) -> None:
        self.make_directory(path.rpartition("/")[0])
        self._at(path).write_bytes(data)

    def copy_in(self, source: str, path: str) -> None:
        self.make_directory(path.rpartition("/")[0])
        (shutil.copytree if Path(source).is_dir() else shutil.copy)(source, self._at(path))

    def is_directory(self, path: str) -> bool | None:
        return self._at(path).is_dir() if self._at(path).exists() else None

    def read(self, path: str) -> bytes:
        return self._at(path).read_bytes()

    def copy_out(self, path: str, target: str) -> None:
        shutil.copytree(self._at(path), target) if self.is_directory(path) else shutil.copy(self._at(path), target)

    def names(self, path: str) -> list[str]:
        return sorted(entry.name for entry in self._at(path).iterdir())


@pytest.fixture
def files(tmp_path: Path) -> Any:
    (tmp_path / "root").mkdir()
    return Files(tmp_path / "root")


def around(line: str, namespace: dict[str, Any], body: str | None = None) -> Any:
    """What is done around the container of a line."""
    request = grammar.read(line, body, eval)
    _arguments, attendance = arrange(request.command.name, request.arguments, request.body, namespace)
    return attendance


def test_values_go_in_and_come_out(files: Any, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "w").write_text("weights")
    namespace = {"text": "hello", "where": tmp_path / "model", "target": tmp_path / "results"}
    attendance = around(
        "--in text=/in/t.txt run --in where=/m --out r=/out/r.json --out target=/res/ alpine x", namespace
    )
    attendance.created(CONTAINER, files)
    assert (files.read("/in/t.txt"), files.read("/m/w")) == (b"hello", b"weights")
    assert files.is_directory("/out")
    assert files.is_directory("/res")
    files.write("/out/r.json", b"[1]")
    files.write("/res/a", b"A")
    attendance.ended(CONTAINER, result(0), files)
    assert "r" not in namespace
    attendance.settle()
    assert namespace["r"] == [1]
    assert (tmp_path / "results" / "a").read_text() == "A"


def test_what_was_not_written_is_named_with_what_was(files: Any) -> None:
    attendance = around("run --out r=/out/r.csv alpine", {})
    attendance.created(CONTAINER, files)
    files.write("/out/result.csv", b"")
    attendance.ended(CONTAINER, result(0), files)
    with pytest.raises(NotFound, match="the container did not write it") as caught:
        attendance.settle()
    assert caught.value.hint == "/out holds result.csv"


def test_after_a_failure_nothing_is_missed(files: Any) -> None:
    namespace: dict[str, Any] = {}
    attendance = around("run --out r=/out/r.csv --out b=/out/b alpine", namespace)
    attendance.created(CONTAINER, files)
    files.write("/out/b", b"half")
    attendance.ended(CONTAINER, result(1), files)
    attendance.settle()
    assert namespace == {"b": b"half"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("run --in x=/x alpine", "the notebook has no variable x"),
        ("run --in x alpine", "there is no path"),
        ("run --in 2=/x alpine", "is not a name in Python"),
        ("run --in v=x alpine", "the path is not absolute"),
        ("run --out x=/x.pkl alpine", "a pickle can run code"),
        ("run --in p=/x alpine", "/not/there does not exist"),
        ("run -d --out x=/x alpine", "-d does not wait"),
        ("run --python alpine", "runs the body of a cell"),
        ("--in v=/x ps", "--in has no meaning for ps"),
    ],
)
def test_mistakes_are_refused_before_there_is_a_container(line: str, message: str) -> None:
    with pytest.raises((UsageError, NotFound), match=message):
        around(line, {"v": b"", "p": Path("/not/there")})


def test_the_options_stand_before_or_after_the_verb(shell: Shell, fake: FakeEngine) -> None:
    shell.user_ns["v"] = b"x"
    for line in ("%container --in v=/x run --rm alpine ls", "%container run --in v=/x --rm alpine ls"):
        shell.run_cell(line).raise_error()
        assert (fake.last("run")["image"], fake.last("run")["command"]) == ("alpine", ["ls"])


def test_a_cell_of_python_is_a_program_in_the_image(shell: Shell, fake: FakeEngine) -> None:
    shell.run_cell("%%container run --rm --python alpine a b\nprint(1)\n").raise_error()
    asked = fake.last("run")
    assert asked["command"][:2] == ["python3", "-u"]
    assert (asked["stdin"], asked["options"].entrypoint) == (None, "")


def test_a_cell_of_python_takes_plain_values(files: Any) -> None:
    namespace = {"x": [1], "y": "text"}
    attendance = around("run --python --in x,y --out z image", namespace, "z = x")
    attendance.created(CONTAINER, files)
    (directory,) = files.names("/")
    assert {"run.py", "cell.json", "in0", "in1", "out"} == set(files.names(f"/{directory}"))
    files.write(f"/{directory}/out/0", b"[1]")
    files.write(f"/{directory}/out/made.json", b'{"z": ["json", "out/0"]}')
    attendance.ended(CONTAINER, result(0), files)
    attendance.settle()
    assert namespace["z"] == [1]


@pytest.mark.parametrize(
    ("report", "kind", "lines"),
    [
        (
            (
                b'{"type": "ValueError", "message": "no\\nmore", "lines": [[3, "f()", ""], [1, "g()", "f"]],'
                b' "inside": "x.py:1", "traceback": "all"}'
            ),
            CellFailed,
            ["line 1 of the cell: ValueError: no", "   3 | f()", "   1 | g()", "raised in x.py:1"],
        ),
        (
            b'{"carry": "df", "message": "has no pandas", "lacks": "pandas", "way": "in"}',
            Unsupported,
            [
                "--in df: it needs pandas, and the image image has no pandas",
                "hint: add it to the image (RUN pip install pandas), or carry plain values: lists, texts, numbers",
            ],
        ),
    ],
)
def test_what_went_wrong_in_the_image_is_raised(files: Any, report: bytes, kind: type[Exception], lines: Any) -> None:
    attendance = around("run --python image", {}, "x")
    attendance.created(CONTAINER, files)
    (directory,) = files.names("/")
    files.write(f"/{directory}/out/error.json", report)
    attendance.ended(CONTAINER, result(1), files)
    with pytest.raises(kind) as caught:
        attendance.settle()
    assert caught.value.lines() == lines  # type: ignore[attr-defined]


def test_values_that_cannot_be_carried_and_an_image_without_python_are_named(shell: Shell, fake: FakeEngine) -> None:
    with pytest.raises(UsageError, match="--in x: it is or holds a set"):
        around("run --python --in x image", {"x": {1}}, "")
    with pytest.raises(UsageError, match="--in p: it is a path"):
        around("run --python --in p image", {"p": Path("/x")}, "")
    fake.containers.failure = CommandNotFound("no python3", step="exec")
    with pytest.raises(CommandNotFound) as caught:
        shell.run_cell("%%container run --python alpine\n1").raise_error()
    assert caught.value.hint == "--python needs a python3 in alpine; the image starter-python has one"
