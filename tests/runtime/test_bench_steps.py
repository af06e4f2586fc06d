"""The breakdown of a run in docs/benchmarks.md can be measured: what it names happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench import steps
from tests.support import rootfs

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.root,
    pytest.mark.usefixtures("no_leaks"),
    pytest.mark.skipif(not rootfs.available(), reason="needs a static busybox"),
]


def test_every_step_of_a_run_is_found(tmp_path: Path) -> None:
    moments = steps.measure(tmp_path, 2, pause=0.1, network="none")
    names = {moment.name for moment in moments}
    assert {name for name, _text in steps.PATH} <= names
    runs = [moment.name for moment in moments].count("run(")
    assert (runs, len(steps.on_the_way(moments))) == (2, len(steps.PATH) - 1)
    known = steps.durations(moments)
    assert {name for name, _text in (*steps.BESIDE, *steps.AHEAD)} - set(known) <= {"write_maps"}


def test_every_step_of_an_exec_is_found(tmp_path: Path) -> None:
    moments = steps.measure_exec(tmp_path, 2, pause=0.1)
    assert {name for name, _text in steps.EXEC_PATH} <= {moment.name for moment in moments}
    assert len(steps.on_the_way(moments, steps.EXEC_PATH)) == len(steps.EXEC_PATH) - 1
