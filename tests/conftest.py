"""What every test gets: a store of its own, a check that nothing was left behind, markers that skip with a reason."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests.support import leaks, unprivileged

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from jupyter_containers.engine import Engine

NEEDS_ROOT = "needs uid 0"
NEEDS_USER = "runs as an ordinary user only"
FAILED = pytest.StashKey[bool]()

# No time limits for single examples (the machine may be busy) and no database (the checkout may be read-only).
hypothesis.settings.register_profile("suites", deadline=None, database=None, print_blob=True)
hypothesis.settings.load_profile("suites")

_counter = itertools.count(1)


# A shell lets what it starts in the background ignore interrupts, and so would all that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip by marker: ``root`` for an ordinary user, ``rootless`` for root."""
    is_root = os.geteuid() == 0
    for item in items:
        if item.get_closest_marker("root") and not is_root:
            item.add_marker(pytest.mark.skip(reason=NEEDS_ROOT))
        if item.get_closest_marker("rootless") and is_root:
            item.add_marker(pytest.mark.skip(reason=NEEDS_USER))


@pytest.fixture(scope="session", autouse=True)
def rung(pytestconfig: pytest.Config, record_testsuite_property: Callable[[str, object], None]) -> None:
    """Into a JUnit report goes the rung of the isolation ladder that the run stands on."""
    if pytestconfig.getoption("xmlpath", None):
        from jupyter_containers.linux.probe import probe_host

        report = probe_host(tempfile.gettempdir())
        record_testsuite_property("rung", report.rung)
        record_testsuite_property("why", report.summary)


@pytest.fixture(scope="session")
def stores() -> Iterator[Path]:
    """The directory of all stores of this run. Its path is short: socket paths are limited to 107 bytes."""
    directory = Path(tempfile.mkdtemp(prefix="jct"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(autouse=True)
def store_root(stores: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of the test's own, not made before it is used; never the user's."""
    root = stores / str(next(_counter))
    monkeypatch.setenv("JUPYTER_CONTAINERS_ROOT", str(root))
    return root


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let fixtures know that a test has failed."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture(autouse=True)
def nothing_outlives_a_failure(store_root: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that fails in the middle leaves no process behind: those of its store and its directory are killed."""
    before = leaks.pids()
    place = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else store_root
    yield
    if request.node.stash.get(FAILED, False):
        ended = leaks.end({store_root, place}, before)
        request.node.add_report_section("teardown", "processes that were killed", "\n".join(ended))


@pytest.fixture
def no_leaks(store_root: Path) -> Iterator[None]:
    """Fail the test when a mount, process, cgroup or link of its store outlives it."""
    before = leaks.take(store_root)
    yield
    left = leaks.remaining(store_root, before)
    assert not left, "left behind:\n" + "\n".join(left)


@pytest.fixture
def engine(store_root: Path, no_leaks: None) -> Iterator[Engine]:  # noqa: ARG001 - checks after the engine was closed
    """An engine on an empty store, closed afterwards; then nothing of it may be left."""
    from jupyter_containers.engine import Engine

    with Engine(store_root) as opened:
        yield opened
        for row in opened.containers.list(all=True):
            opened.containers.remove(row.id, force=True)


@pytest.fixture
def as_user() -> Callable[..., tuple[int, list[str]]]:
    """``as_user("single" | "subids", command)``: run a command as a temporary ordinary user (needs root)."""
    if os.geteuid() != 0:
        pytest.skip(NEEDS_ROOT)
    return unprivileged.run


@pytest.fixture
def need_tool() -> Callable[[str], str]:
    """``need_tool("skopeo")``: the path of another tool, or the test is skipped naming it."""

    def find(name: str, *, alternatives: Sequence[str] = ()) -> str:
        for candidate in (name, *alternatives):
            path = shutil.which(candidate, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
            if path:
                return path
        pytest.skip(f"{name} is not installed")

    return find


@pytest.fixture(scope="session")
def python() -> str:
    """The interpreter that runs the tests."""
    return sys.executable
