"""Verbs in the background, interrupts and restarts, in a real kernel with real containers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.engine import Engine
from tests.support.leaks import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.notebook.conftest import Kernel

pytestmark = pytest.mark.root
RUN = "run --rm --network none starter"


def test_the_notebook_goes_on_and_awaits_the_end(kernel: Kernel) -> None:
    kernel.run("%container pull starter")
    started = kernel.run(
        f"%container --bg -o h {RUN} sh -c 'echo up; while [ ! -e /go ]; do sleep 0.1; done; echo over'"
    )
    assert (started.status, started.stdout, started.data) == ("ok", "", {})
    polled = kernel.run("import time\nwhile 'up' not in h.output: time.sleep(0.05)\nprint(h.done, h.state)\nh")
    assert polled.stdout == "False running\n"
    assert "running for" in polled.displays[0][1]["text/plain"]
    kernel.run("%container exec {h.container} touch /go")
    ended = kernel.run("r = await h\nprint(r.exit_code, r.stdout, h.done, h.state)")
    assert ended.stdout == "0 up\nover\n True done\n", ended
    shown = kernel.run("h")
    assert "done after" in shown.displays[0][1]["text/plain"]
    assert "up\nover" in shown.displays[0][1]["text/html"]


def test_one_is_stopped_and_one_fails(kernel: Kernel) -> None:
    kernel.run("%container pull starter")
    ended = kernel.run(
        f"%container --bg -o h {RUN} sleep 1000\n"
        f"%container --bg -o bad {RUN} sh -c 'echo why >&2; exit 3'\n"
        "import time\nwhile h.container is None: time.sleep(0.05)\n"
        "h.stop(0)\nprint(h.state)\n"
    )
    assert ended.stdout == "stopped\n", ended
    failed = kernel.run("bad.wait()")
    assert (failed.status, failed.name) == ("error", "ContainerFailed")
    assert "| why" in "\n".join(failed.error)
    assert len(failed.error) <= 5
    assert kernel.run("%container ps -aq").data == {"text/plain": "[]"}


def test_a_silent_build_is_stopped(kernel: Kernel) -> None:
    kernel.run("%container pull starter")
    ended = kernel.run("%%container --bg -o h build --network none -t never\nFROM starter\nRUN sleep 1000\n")
    assert ended.status == "ok", ended
    ended = kernel.run("import time\nwhile '1 of 2 steps' not in repr(h): time.sleep(0.05)\nh.stop()\nprint(h.state)")
    assert ended.stdout == "stopped\n", ended
    assert kernel.run("h.wait()").name == "Cancelled"


def test_an_interrupt_of_waiting_leaves_it_running(kernel: Kernel) -> None:
    kernel.run("%container pull starter")
    kernel.run(f"%container --bg -o h {RUN} sleep 1000")
    message = kernel.start("print('waiting'); h.wait()")
    kernel.finish(message, until="waiting")
    kernel.manager.interrupt_kernel()
    assert kernel.finish(message).name == "KeyboardInterrupt"
    assert kernel.run("print(h.state); h.stop(0)").stdout == "running\n"


@pytest.mark.parametrize("now", [True, False], ids=["killed", "shut down"])
def test_a_restart_of_the_kernel_ends_it(kernel: Kernel, store_root: Path, now: bool) -> None:
    kernel.run("%container pull starter")
    kernel.run(
        "%container --bg -o h run --rm --network none --name tied starter sleep 1000\n"
        "%container run -d --network none --name kept starter sleep 1000\n"
        "import time\nwhile h.container is None: time.sleep(0.05)"
    )
    with Engine(store_root) as engine:
        wait_until(lambda: {row.name for row in engine.containers.list()} == {"tied", "kept"}, what="both run")
        kernel.manager.restart_kernel(now=now)
        wait_until(lambda: [row.name for row in engine.containers.list(all=True)] == ["kept"], what="its end")
        engine.containers.remove("kept", force=True)
    kernel.client.wait_for_ready(timeout=60)
    kernel.run("%load_ext jupyter_containers")


def test_an_interrupt_keeps_a_container_without_rm(kernel: Kernel) -> None:
    kernel.run("%container pull starter")
    message = kernel.start("%container run --network none --name kept starter sh -c 'echo up; sleep 1000'")
    kernel.finish(message, until="up")
    kernel.manager.interrupt_kernel()
    ended = kernel.finish(message)
    assert ended.error == ["Interrupted: the container was ended; it is kept, for there was no --rm ('ps -a' lists it)"]
    assert kernel.run("df = %container ps -a\nprint(df['name'].tolist(), df['state'].tolist())").stdout == (
        "['kept'] ['exited']\n"
    )
    assert kernel.run("%container logs kept").stdout == "up\n"


def test_a_second_interrupt_is_forced(kernel: Kernel) -> None:
    kernel.run("%container pull starter")
    message = kernel.start(f"%container {RUN} sh -c 'trap : INT; echo up; while true; do sleep 0.1; done'")
    kernel.finish(message, until="up")
    kernel.manager.interrupt_kernel()
    time.sleep(0.5)  # it does not listen to the first one
    kernel.manager.interrupt_kernel()
    assert kernel.finish(message).name == "Interrupted"
    assert kernel.run("%container ps -aq").data == {"text/plain": "[]"}


def test_run_all_stops_at_the_cell_that_was_interrupted(kernel: Kernel) -> None:
    kernel.run("%container pull starter")
    first = kernel.start(f"%container {RUN} sh -c 'echo up; sleep 1000'")
    second = kernel.start("print('must not run')")
    kernel.finish(first, until="up")
    kernel.manager.interrupt_kernel()
    assert kernel.finish(first).name == "Interrupted"
    reply = kernel._reply(second)
    assert reply == "aborted"
