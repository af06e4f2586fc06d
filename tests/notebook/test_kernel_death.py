"""What becomes of containers when the kernel that started them is restarted or killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jupyter_containers.engine import Engine
from tests.support.leaks import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.notebook.conftest import Kernel

pytestmark = pytest.mark.root

SETUP = """
%container pull starter
%container run -d --name kept starter sh -c 'trap "exit 5" TERM; while true; do sleep 0.05; done'
%container run -d --rm --name kept-rm starter sleep 1000
%container exec -d kept sh -c 'sleep 1; touch /survived'
"""


@pytest.mark.parametrize("now", [True, False], ids=["killed", "shut down"])
def test_what_ran_in_a_cell_is_gone_and_what_was_detached_goes_on(kernel: Kernel, store_root: Path, now: bool) -> None:
    assert kernel.run(SETUP).status == "ok"
    cell = kernel.start("%container run --rm --name tied starter sh -c 'echo up; sleep 1000'")
    kernel.finish(cell, until="up")
    with Engine(store_root) as engine:
        running = {row.name: row.pid for row in engine.containers.list()}
        assert set(running) == {"kept", "kept-rm", "tied"}
        if not now:
            kernel.manager.interrupt_kernel()
            assert kernel.finish(cell).name == "Interrupted"
        kernel.manager.restart_kernel(now=now)
        wait_until(
            lambda: {row.name for row in engine.containers.list(all=True)} == {"kept", "kept-rm"}, what="its end"
        )
        assert {row.name: row.pid for row in engine.containers.list()} == {
            name: running[name] for name in ("kept", "kept-rm")
        }
        kernel.client.wait_for_ready(timeout=60)
        kernel.run("%load_ext jupyter_containers")
        wait_until(
            lambda: kernel.run("%container --no-raise exec kept ls /survived").stdout == "/survived\n",
            what="the end of the detached exec",
            seconds=20,
        )
        kernel.run("%container stop kept kept-rm")
        assert engine.containers.wait("kept") == 5
        assert [row.name for row in engine.containers.list(all=True)] == ["kept"]


def test_an_exit_status_survives_the_kernel(kernel: Kernel, store_root: Path) -> None:
    kernel.run("%container run -d --name job starter sh -c 'sleep 1; echo done; exit 6'")
    kernel.manager.signal_kernel(9)
    with Engine(store_root) as engine:
        assert engine.containers.wait("job") == 6
        assert [entry.data for entry in engine.containers.logs("job")] == [b"done\n"]
        assert [
            event.attributes["exitCode"] for event in engine.events(since="1m", until="0s", filters=["event=die"])
        ] == ["6"]
    kernel.manager.restart_kernel(now=True)
    kernel.client.wait_for_ready(timeout=60)
    kernel.run("%load_ext jupyter_containers")


def test_verbs_of_a_life_in_cells(kernel: Kernel) -> None:
    assert (
        kernel.run("%container create --name job -t starter sh -c 'tty; while sleep 0.2; do echo tick; done'").status
        == "ok"
    )
    assert kernel.run("%container start job").status == "ok"
    top = kernel.run("%container top job")
    assert "sleep 0.2" in top.data["text/html"]
    kernel.run("%container pause job")
    assert "(Paused)" in kernel.run("%container ps").data["text/html"]
    refused = kernel.run("%container exec job true")
    assert (refused.name, "paused" in refused.error[0]) == ("Conflict", True)
    kernel.run("%container unpause job")
    assert kernel.run("%container logs job").stdout.startswith("/dev/pts/0")
    attached = kernel.start("%container attach job")
    kernel.finish(attached, until="tick")
    kernel.manager.interrupt_kernel()
    assert kernel.finish(attached).name == "Interrupted"
    assert "running" in kernel.run("%container ps").data["text/html"]
    events = "events --since 1h --until 0s -f event=pause -f event=unpause"
    assert "Events: 2" in kernel.run(f"%container {events}").data["text/html"]
    kernel.run(f"%container -o found {events}")
    assert kernel.run("print(*found['action'])").stdout == "pause unpause\n"
