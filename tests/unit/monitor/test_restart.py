from __future__ import annotations

from typing import Any

import pytest

from jupyter_containers.monitor.restart import Restart


def ended(code: int = 1, seconds: float = 0.5) -> dict[str, Any]:
    return {"code": code, "started_at": 10**18, "finished_at": 10**18 + int(seconds * 1e9)}


def test_the_pause_doubles_to_a_minute_and_begins_anew_after_a_long_run() -> None:
    restart = Restart({"name": "always", "most": 0})
    pauses = [restart.pause_after(ended()) for _ in range(12)]
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60, 60]
    assert restart.pause_after(ended(seconds=10)) == 0.1
    assert restart.count == 13


@pytest.mark.parametrize(
    ("name", "code", "again"),
    [("always", 0, True), ("unless-stopped", 0, True), ("on-failure", 0, False), ("on-failure", 3, True)],
)
def test_what_each_policy_wants(name: str, code: int, again: bool) -> None:
    assert (Restart({"name": name, "most": 0}).pause_after(ended(code)) is not None) is again


def test_a_maximum_ends_it() -> None:
    restart = Restart({"name": "on-failure", "most": 2})
    assert [restart.pause_after(ended()) is not None for _ in range(3)] == [True, True, False]
    assert restart.count == 2
