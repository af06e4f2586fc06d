from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from jupyter_containers.events import BuildFinished, Notice, StepError, StepFinished, StepOutput, StepStarted, Transfer
from jupyter_containers.notebook.progress import INTERVAL, CellProgress
from tests.support.pages import well_formed

if TYPE_CHECKING:
    from collections.abc import Mapping


class Screen:
    """Keeps what was published."""

    def __init__(self) -> None:
        self.drawn: list[tuple[str, str, bool]] = []
        self.text = ""

    def __call__(self, bundle: Mapping[str, str], display_id: str, update: bool) -> None:
        self.drawn.append((well_formed(bundle["text/html"]), display_id, update))
        self.text = bundle["text/plain"]

    @property
    def last(self) -> str:
        return self.drawn[-1][0]


def test_a_build_ends_with_every_step_and_its_output_folded_away() -> None:
    screen = Screen()
    progress = CellProgress(screen)
    progress(StepStarted("a", 1, 2, "base", "FROM alpine", 1))
    progress(StepFinished("a", cached=True, seconds=0))
    progress(StepStarted("b", 2, 2, "base", "RUN make <all>", 2))
    progress(StepOutput("b", "stdout", b"built & <done>\n"))
    progress(StepFinished("b", cached=False, seconds=1.5, reason="file changed: a.c"))
    progress(BuildFinished("sha256:" + "ab" * 32, ("x:1",), 1.6))
    progress.close()
    assert "Built abababababab as x:1 in 1.6s: 2 of 2 steps, 1 cached" in screen.last
    assert (
        "<summary><code>[base 2/2] RUN make &lt;all&gt;</code></summary><pre>built &amp; &lt;done&gt;\n</pre>"
        in screen.last
    )
    assert "CACHED" in screen.last
    assert "DONE 1.5s (not cached: file changed: a.c)" in screen.last
    assert 'role="status" aria-live="polite"' in screen.last
    assert screen.text.splitlines()[0] == "#1 [base 1/2] FROM alpine: CACHED"
    assert {display_id for _, display_id, _ in screen.drawn} == {screen.drawn[0][1]}
    assert [update for _, _, update in screen.drawn] == [False] + [True] * (len(screen.drawn) - 1)


def test_a_failed_step_is_open() -> None:
    screen = Screen()
    progress = CellProgress(screen)
    progress(StepStarted("a", 1, 1, "", "RUN false", 1))
    progress(StepOutput("a", "stderr", b"no\n"))
    progress(StepError("a", "exit status 1", 0.1))
    progress.close()
    assert "<details open>" in screen.last
    assert "ERROR exit status 1" in screen.last
    assert "Failed at step 1" in screen.last


def test_a_step_that_is_silent_is_shown_as_running() -> None:
    screen = Screen()
    progress = CellProgress(screen)
    progress(StepStarted("a", 1, 2, "", "FROM alpine", 1))
    progress(StepFinished("a", cached=True, seconds=0))
    time.sleep(INTERVAL / 4)
    progress(StepStarted("b", 2, 2, "", "RUN sleep 9", 2))
    deadline = time.monotonic() + 5
    while "RUN sleep 9" not in (screen.last if screen.drawn else "") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "running" in screen.last
    progress.close()
    assert "CANCELED" in screen.last


def test_many_events_are_few_drawings_and_a_bounded_size() -> None:
    screen = Screen()
    progress = CellProgress(screen)
    began = time.monotonic()
    for step in range(30):
        progress(StepStarted(str(step), step + 1, 30, "", "RUN yes", step))
        for number in range(200):
            progress(StepOutput(str(step), "stdout", b"%d %s\n" % (number, b"y" * 100)))
        progress(StepFinished(str(step), cached=False, seconds=1))
    progress.close()
    assert len(screen.drawn) <= 3 + (time.monotonic() - began) / INTERVAL
    assert len(screen.last) < 400_000


def test_transfers_and_notices() -> None:
    screen = Screen()
    progress = CellProgress(screen)
    progress(Transfer("3f2a", "downloading", 1000, 3000))
    progress(Transfer("77aa", "done", 2000, 2000))
    progress(Notice("mirror used"))
    deadline = time.monotonic() + 5
    while "mirror used" not in (screen.last if screen.drawn else "") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert '<progress value="1000" max="3000">1kB of 3kB</progress> 1kB of 3kB' in screen.last
    progress(Transfer("3f2a", "done", 3000, 3000))
    progress.close()
    assert "Transferred: 2 of 2 layers" in screen.last
    assert "<details><summary>2 transfers</summary>" in screen.last


def test_nothing_is_shown_without_events_and_no_thread_stays() -> None:
    screen = Screen()
    before = threading.active_count()
    CellProgress(screen).close()
    assert screen.drawn == []
    progress = CellProgress(screen)
    progress(Transfer("a", "done"))
    progress.close()
    assert threading.active_count() == before


def test_a_step_that_runs_twice_keeps_its_number_and_a_build_that_ends_without_an_image_says_so() -> None:
    screen = Screen()
    progress = CellProgress(screen)
    for _build in range(2):
        for number in (1, 2):
            progress(StepStarted(str(number), number, 2, "", f"RUN {number}", number))
            progress(StepFinished(str(number), cached=False, seconds=1))
    progress.close()
    assert screen.text.splitlines() == [
        "#1 [1/2] RUN 1: DONE 1.0s",
        "#2 [2/2] RUN 2: DONE 1.0s",
        "Not built: 2 of 2 steps",
    ]


def test_transfers_say_how_they_ended() -> None:
    for last, text in (("mounted", "Transferred: 2 of 2 layers"), ("uploading", "Transfer stopped: 1 of 2 layers")):
        screen = Screen()
        progress = CellProgress(screen)
        progress(Transfer("a", "exists", 0, 10))
        progress(Transfer("b", last, 1, 10))
        progress.close()
        assert screen.text.splitlines()[-1] == text
