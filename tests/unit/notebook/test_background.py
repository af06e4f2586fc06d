from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from jupyter_containers.engine import Container, RunResult
from jupyter_containers.errors import Cancelled, Conflict, ContainerFailed, Timeout, UsageError
from jupyter_containers.events import Output, StepStarted
from jupyter_containers.notebook.background import OUTPUT_LIMIT, Background
from tests.support.fake_engine import CONTAINER_ID, FakeEngine, result

Shell = Any
LONG = 60.0


@pytest.fixture
def gate() -> threading.Event:
    """The work waits for it."""
    return threading.Event()


@pytest.fixture
def handle(fake: FakeEngine, gate: threading.Event) -> Any:
    made = Background("run x", lambda: fake, None)  # type: ignore[arg-type,return-value]
    yield made
    gate.set()


def test_a_verb_goes_on_in_the_background(shell: Shell, fake: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run_cell("%container --bg -o handle run --rm alpine echo hi").raise_error()
    handle = shell.user_ns["handle"]
    ended = handle.wait(LONG)
    assert isinstance(ended, RunResult)
    assert (handle.done, handle.state, handle.output, handle.result) == (True, "done", "hi\n", ended)
    assert capsys.readouterr().out == ""
    assert fake.last("run")["command"] == ["echo", "hi"]
    shell.run_cell("%container --bg run alpine").raise_error()
    assert "Background(" in capsys.readouterr().out


def test_a_failure_is_raised_to_whoever_waits(shell: Shell, fake: FakeEngine) -> None:
    fake.containers.ended = result(3)
    shell.run_cell("%container --bg -o handle run alpine x").raise_error()
    handle = shell.user_ns["handle"]
    with pytest.raises(ContainerFailed):
        handle.wait(LONG)
    assert handle.state == "failed"
    assert "ended with exit status 3" in repr(handle)


def test_mistakes_are_refused_at_once(shell: Shell) -> None:
    with pytest.raises(UsageError, match="--bg and -d"):
        shell.run_cell("%container --bg run -d alpine").raise_error()
    with pytest.raises(UsageError, match="no variable gone"):
        shell.run_cell("%container --bg run --in gone=/x alpine").raise_error()


def test_one_that_runs_is_looked_at(handle: Background, gate: threading.Event) -> None:
    said = threading.Event()

    def work() -> int:
        handle(Output("stdout", b"half"))
        handle(StepStarted("v", 1, 1, "", "FROM x", 1))
        said.set()
        gate.wait(LONG)
        return 3

    handle.begin(work)
    assert said.wait(LONG)
    assert (handle.done, handle.state, handle.output, handle.error) == (False, "running", "half", None)
    assert "running for" in repr(handle)
    assert "0 of 1 steps" in repr(handle)
    with pytest.raises(Conflict, match="still runs"):
        _ = handle.result
    with pytest.raises(Timeout, match=r"still runs after 0\.01 s"):
        handle.wait(0.01)
    gate.set()
    assert handle.wait(LONG) == 3
    assert handle.seconds == handle.seconds


def test_it_is_awaited_while_the_loop_goes_on(handle: Background, gate: threading.Event) -> None:
    async def main() -> list[Any]:
        async def release() -> str:
            await asyncio.sleep(0)
            gate.set()
            return "released"

        return [*await asyncio.gather(handle, release()), await handle]

    handle.begin(lambda: gate.wait(LONG) and 3)
    assert asyncio.run(main()) == [3, "released", 3]


def test_an_await_that_is_cancelled_leaves_it_running(handle: Background, gate: threading.Event) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(handle, 0.01)

    handle.begin(lambda: gate.wait(LONG) and 3)
    asyncio.run(main())
    assert handle.state == "running"
    gate.set()
    assert handle.wait(LONG) == 3


def test_a_container_is_stopped(
    handle: Background, fake: FakeEngine, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = threading.Event()

    def work() -> None:
        handle.started(Container(CONTAINER_ID, "web", "alpine"))
        running.set()
        gate.wait(LONG)
        raise ContainerFailed("ended", status=143)

    stop = fake.containers.stop

    def end(_name: str, **options: Any) -> None:
        stop("web", **options)
        gate.set()

    monkeypatch.setattr(fake.containers, "stop", end)
    handle.begin(work)
    assert running.wait(LONG)
    handle.stop(LONG)
    assert fake.last("stop") == {"time": LONG, "signal": None}
    assert handle.state == "stopped"
    with pytest.raises(Cancelled, match="it was stopped"):
        handle.wait()
    handle.stop()


def test_what_has_no_container_ends_with_its_next_event(handle: Background, gate: threading.Event) -> None:
    def work() -> None:
        gate.wait(LONG)
        handle(StepStarted("v", 1, 1, "", "FROM x", 1))

    handle.on_stop(gate.set)
    handle.begin(work)
    handle.stop(LONG)
    assert handle.state == "stopped"


def test_its_output_is_bounded(handle: Background) -> None:
    for _ in range(3):
        handle(Output("stdout", b"x" * OUTPUT_LIMIT))
    assert handle.output.startswith(f"… {2 * OUTPUT_LIMIT} bytes before this are not kept\n")
    assert len(handle.output) < OUTPUT_LIMIT + 100


def test_it_is_drawn_when_it_is_shown_and_when_it_ends(fake: FakeEngine, gate: threading.Event) -> None:
    drawn: list[tuple[str, str, bool]] = []
    handle = Background(
        "run <x>",
        lambda: fake,  # type: ignore[arg-type,return-value]
        lambda bundle, identity, update: drawn.append((bundle["text/html"], identity, update)),
    )

    def work() -> None:
        gate.wait(LONG)
        handle(Output("stdout", b"<last>\n"))

    handle.begin(work)
    handle._ipython_display_()
    gate.set()
    handle.wait(LONG)
    from tests.support.leaks import wait_until

    wait_until(lambda: "done after" in drawn[-1][0], what="the last drawing")
    assert (drawn[0][1], drawn[0][2], drawn[-1][1:]) == (drawn[-1][1], False, (drawn[0][1], True))
    assert "run &lt;x&gt;" in drawn[-1][0]
    assert "&lt;last&gt;" in drawn[-1][0]
