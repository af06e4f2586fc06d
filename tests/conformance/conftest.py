"""Every conformance test runs with this project's runtime, and with runc and crun where they are, to test the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance import harness

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conformance.harness import Bundle, Runtime

PEERS = ("runc", "crun")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise over the runtimes; the marker ``only_ours`` leaves the others out."""
    if "runtime" not in metafunc.fixturenames:
        return
    definition = metafunc.definition
    known = {name: reason for mark in definition.iter_markers("deviates") for name, reason in mark.kwargs.items()}
    names = [harness.OURS] if definition.get_closest_marker("only_ours") else [harness.OURS, *PEERS]
    parameters = []
    for name in names:
        marks: list[pytest.MarkDecorator] = [] if name == harness.OURS else [pytest.mark.peer]
        if name in known:
            marks.append(pytest.mark.xfail(reason=f"{name}: {known[name]}", strict=False))
        parameters.append(pytest.param(name, marks=marks, id=name))
    metafunc.parametrize("runtime", parameters, indirect=True)


@pytest.fixture
def runtime(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Runtime]:
    name = request.param
    if reason := harness.why_not(name):
        pytest.skip(reason)
    yield from harness.open_runtime(name, tmp_path / "state")


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    (tmp_path / "bundle").mkdir()
    return harness.make_bundle(tmp_path / "bundle")
