from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import jupyter_containers.engine
from jupyter_containers import cli
from jupyter_containers.engine import early
from jupyter_containers.errors import CommandNotFound, Conflict, ContainerNotRunning, EngineError, StartFailed
from jupyter_containers.events import Notice, Output, Transfer
from tests.support.fake_engine import CONTAINER_ID, IMAGE_ID, FakeEngine, result

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    made = FakeEngine()
    monkeypatch.setattr(early, "begin", lambda: None)
    monkeypatch.setattr(jupyter_containers.engine, "Engine", lambda **_options: made)
    return made


@pytest.fixture
def run(fake: FakeEngine, capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[[str], tuple[int, str, str]]:
    def call(line: str) -> tuple[int, str, str]:
        status = cli.main(line.split())
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        assert fake.closed or not fake.asked
        return status, out.decode(), err.decode()

    return call


Run = Any


def test_the_status_of_a_container_is_ours(fake: FakeEngine, run: Run) -> None:
    fake.containers.ended = result(7)
    assert run("run alpine x") == (7, "hi\n", "")
    assert run("exec web x") == (7, "hi\n", "")


def test_bytes_pass_unchanged(fake: FakeEngine, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    fake.containers.output = [Output("stdout", b"a\xff"), Output("stderr", b"b"), Output("stdout", b"c\n")]
    assert cli.main(["run", "alpine", "x"]) == 0
    assert capfdbinary.readouterr() == (b"a\xffc\n", b"b")


def test_ps_is_dockers_table(run: Run) -> None:
    status, out, err = run("ps -a")
    lines = out.splitlines()
    assert (status, err) == (0, "")
    assert lines[0] == (
        "CONTAINER ID   IMAGE           COMMAND        CREATED        STATUS                  PORTS     NAMES"
    ).replace("CREATED        ", lines[0][lines[0].index("CREATED") : lines[0].index("STATUS")])
    assert lines[1].startswith('c0ffee000000   alpine:latest   "sleep 1000"   ')
    assert lines[2].endswith("   Exited (3) 1 hour ago             old")


def test_quiet_listings_are_ids(run: Run) -> None:
    assert run("ps -q")[1] == "c0ffee000000\n"
    assert run("ps -q --no-trunc")[1] == f"{CONTAINER_ID}\n"
    assert run("images -q --no-trunc")[1] == f"{IMAGE_ID}\n"


def test_images_history_and_layers(run: Run) -> None:
    header, *rows = run("images -a")[1].splitlines()
    assert header.split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert rows[0].startswith("alpine       latest    ")
    assert rows[0].endswith("   7.83MB")
    assert rows[1].startswith("<none>       <none>    ")
    assert rows[1].endswith("   N/A             12B") or "N/A" in rows[1]
    history = run("history alpine")[1].splitlines()
    assert history[2].startswith("<missing>      ")
    assert "ADD rootfs.tar / # a long text that does not…" in history[2]
    assert run("layers alpine")[1].splitlines()[1].startswith("0         ")
    assert "DIGEST" in run("images --digests")[1]


def test_errors_go_to_standard_error_with_a_hint(run: Run) -> None:
    assert run("run missing") == (125, "", "jupyter-container: no such image: missing\n")
    assert run("rm -f web gone") == (0, "web\n", "no such container: gone\n")
    assert run("rm web gone") == (
        1,
        "web\n",
        "jupyter-container: no such container: gone\nhint: 'ps -a' lists what there is\n",
    )


@pytest.mark.parametrize(
    ("line", "error", "status"),
    [
        ("run alpine x", Conflict("no"), 125),
        ("exec web x", ContainerNotRunning("it does not run"), 1),
        ("exec web x", StartFailed("no such directory", step="working directory"), 126),
        ("exec web x", CommandNotFound("no x", step="execute"), 127),
    ],
)
def test_a_failed_verb_has_dockers_exit_status(
    fake: FakeEngine, run: Run, line: str, error: EngineError, status: int
) -> None:
    fake.containers.failure = error
    assert run(line)[0] == status


def test_usage_errors(run: Run) -> None:
    status, out, err = run("run --foo x")
    assert (status, out) == (125, "")
    assert err == "jupyter-container: unknown flag: --foo\nhint: see 'jupyter-container run --help'\n"
    assert run("frobnicate")[0] == 125
    assert run("start --foo x")[0] == 125


@pytest.mark.parametrize("line", ["", "--help", "help"])
def test_help(run: Run, line: str) -> None:
    status, out, err = run(line)
    assert (status, err) == (0, "")
    assert out.startswith("Usage: jupyter-container [--explain|--dry-run] COMMAND")


@pytest.mark.parametrize("line", ["run --help", "help run", "container run --help"])
def test_help_of_a_verb(run: Run, line: str) -> None:
    status, out, _ = run(line)
    assert status == 0
    assert out.startswith("Usage: jupyter-container run [OPTIONS] IMAGE [COMMAND] [ARG...]")


def test_other_verbs_print_what_scripts_expect(run: Run) -> None:
    assert run("run -d alpine")[1] == f"{CONTAINER_ID}\n"
    assert run("pull alpine")[1] == "docker.io/library/alpine:latest\n"
    assert run("build -q .")[1] == f"{IMAGE_ID}\n"
    assert run("build .")[1] == ""
    assert run("wait web")[1] == "3\n"
    assert run("logs web")[1:] == ("one\n", "two\n")
    assert json.loads(run("inspect web")[1])[0]["Name"] == "web"
    assert "rootful: everything works" in run("doctor")[1]
    assert "remedy: mount -t cgroup <where>" in run("doctor")[1]
    assert "snapshotter: overlay" in run("info")[1]


def test_progress_is_on_standard_error_and_can_be_quiet(fake: FakeEngine, run: Run) -> None:
    fake.images.events = [Transfer("3f2a", "downloading", 0, 10), Notice("careful", "warning")]
    assert run("pull alpine")[2] == "3f2a: downloading 10B\nwarning: careful\n"
    assert run("pull -q alpine")[2] == "warning: careful\n"


def test_an_interrupt_is_130(fake: FakeEngine, run: Run) -> None:
    fake.containers.interrupt = True
    assert run("run alpine")[0] == 130


def test_standard_input_is_handed_on_with_i(fake: FakeEngine, run: Run) -> None:
    run("run -i alpine cat")
    assert fake.last("run")["stdin"] is sys.stdin.buffer


def program(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jupyter_containers", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_the_version_starts_fast_and_imports_little() -> None:
    code = (
        "import sys; from jupyter_containers import cli; status = cli.main(['version']); "
        "heavy = {'pandas', 'IPython', 'urllib3', 'msgspec', 'pyroute2', 'sqlite3', 'jupyter_containers.engine'}; "
        "print(sorted(heavy & set(sys.modules)), status)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[1] == "[] 0"


def test_a_closed_pipe_is_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = [sys.executable, "-m", "jupyter_containers", "run", "--help"]
        ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_the_module_is_the_program() -> None:
    ended = program("version")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("jupyter-containers ")


@pytest.mark.parametrize(("line", "status"), [("--help", 125), ("run --help", 125), ("ps", 1)])
def test_output_that_cannot_be_written_is_one_error(line: str, status: int, store_root: Path) -> None:  # noqa: ARG001 - a store of its own
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "jupyter_containers", *line.split()]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (
        status,
        "jupyter-container: cannot write the output: No space left on device\n",
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_do_no_harm(closed: str) -> None:
    script = f"exec {closed}; exec {sys.executable} -m jupyter_containers run --help"
    ended = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_refusal_of_the_system_is_no_traceback(fake: FakeEngine, run: Run) -> None:
    fake.containers.failure = OSError(24, "Too many open files", "/some/file")
    assert run("run alpine x")[::2] == (
        125,
        "jupyter-container: the system refused: [Errno 24] Too many open files: '/some/file'\n",
    )


def test_rows_of_text_are_aligned(run: Run) -> None:
    assert run("top web -o pid") == (0, "PID       CMD\n42        sleep -o pid\n", "")
