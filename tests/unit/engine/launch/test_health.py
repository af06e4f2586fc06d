from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jupyter_containers.engine.launch import health
from jupyter_containers.engine.options import RunOptions
from jupyter_containers.engine.record import ContainerRecord
from jupyter_containers.errors import EngineError
from jupyter_containers.oci.image_spec import Healthcheck

if TYPE_CHECKING:
    from jupyter_containers.runtime.protocol import ExecRequest

IMAGE = Healthcheck(test=["CMD", "true"], interval=10**9, retries=5)


def test_options_replace_what_the_image_says() -> None:
    assert health.merge(RunOptions(), IMAGE) == IMAGE
    merged = health.merge(RunOptions(health_cmd="test -e /x", health_timeout="1m"), IMAGE)
    assert merged == Healthcheck(test=["CMD-SHELL", "test -e /x"], interval=10**9, retries=5, timeout=60 * 10**9)
    assert health.merge(RunOptions(no_healthcheck=True), IMAGE) is None


def test_without_a_command_there_is_no_check() -> None:
    assert health.merge(RunOptions(), None) is None
    assert health.merge(RunOptions(health_interval="1s"), None) is None
    assert health.merge(RunOptions(), Healthcheck(test=["NONE"])) is None


@pytest.mark.parametrize(
    "options",
    [RunOptions(no_healthcheck=True, health_cmd="x"), RunOptions(health_interval="soon"),
     RunOptions(health_timeout="-1s"), RunOptions(health_start_period="1us"), RunOptions(health_retries=-1),
     RunOptions(health_on_failure="weep")],
)  # fmt: skip
def test_what_contradicts_itself_is_refused(options: RunOptions) -> None:
    with pytest.raises(EngineError):
        health.merge(options, IMAGE)


def test_the_defaults_are_dockers() -> None:
    process: ExecRequest = {"process": {"args": []}, "user": None, "seccomp": b""}
    record = ContainerRecord(
        id="c", name="c", image="i", image_id="i", digest="d", created=0, args=(), env=(), cwd="/", user="",
        hostname="c", network="none", chains=(), options=RunOptions(health_on_failure="stop"),
        stop_signal="SIGINT", stop_timeout=3,
    )  # fmt: skip
    check = health.request(record, Healthcheck(test=["CMD-SHELL", "true"]), process)
    assert (check["on_failure"], check["stop_signal"], check["stop_timeout"]) == ("stop", 2, 3)
    names = ("interval", "timeout", "start_period", "start_interval", "retries")
    assert [dict(check)[name] for name in names] == [30, 30, 0, 5, 3]
    assert check["process"]["args"] == ["/bin/sh", "-c", "true"]
