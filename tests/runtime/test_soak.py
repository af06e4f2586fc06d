"""A minute of ``./dev soak``, in all runs together: many processes at once on one store, some of them killed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tools.soak import soak

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 44 if os.geteuid() == 0 else 8


def test_many_processes_on_one_store_lose_nothing_and_leave_nothing(store_root: Path) -> None:
    report = soak(store_root, seconds=SECONDS, kills=True)
    assert report.problems == [], "\n".join(report.problems)
    assert set(report.steps) >= {"list", "own", "shared", "throw away", "volume"}
