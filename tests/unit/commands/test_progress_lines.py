from __future__ import annotations

import io

import pytest

from jupyter_containers.commands.lines import LineProgress, LiveProgress, transfer_line
from jupyter_containers.commands.steps import LOG_LIMIT, Progress, outcome
from jupyter_containers.events import (
    BuildFinished,
    Event,
    Notice,
    Output,
    StepError,
    StepFinished,
    StepOutput,
    StepStarted,
    Transfer,
)

BUILD: list[Event] = [
    StepStarted("a", 1, 2, "base", "FROM alpine", 1),
    StepFinished("a", cached=True, seconds=0.0),
    StepStarted("b", 2, 2, "base", "RUN make", 2),
    StepOutput("b", "stdout", b"one\nt\xc3"),
    StepOutput("b", "stderr", b"\xa4o\r\nrest"),
    StepFinished("b", cached=False, seconds=1.25, reason="file changed: app.py"),
    BuildFinished("sha256:" + "ab" * 32, ("tool:1",), 1.3),
]


def plain(events: list[Event]) -> list[str]:
    lines: list[str] = []
    sink = LineProgress(lambda text: lines.extend(text.splitlines()))
    for event in events:
        sink(event)
    return lines


def test_a_build_is_told_in_lines() -> None:
    lines = plain(BUILD)
    times = [line.split(" ", 2) for line in lines if line.startswith("#2 0.")]
    assert [line[2] for line in times] == ["one", "täo"]
    assert [line for line in lines if not line.startswith("#2 0.")] == [
        "#1 [base 1/2] FROM alpine",
        "#1 CACHED",
        "",
        "#2 [base 2/2] RUN make",
        "#2 1.250 rest",
        "#2 DONE 1.2s (not cached: file changed: app.py)",
        "",
        "built abababababab as tool:1 in 1.3s",
    ]


@pytest.mark.parametrize(("stage", "place"), [("", "1/2"), ("0", "1/2"), ("1", "stage-1 1/2"), ("base", "base 1/2")])
def test_stages_without_a_name_go_by_number(stage: str, place: str) -> None:
    assert plain([StepStarted("a", 1, 2, stage, "FROM x", 1)]) == [f"#1 [{place}] FROM x"]


@pytest.mark.parametrize(("reason", "told"), [("", ""), ("pulled", ""), ("never built", " (not cached: never built)")])
def test_why_a_step_was_made_is_told_but_of_a_pull(reason: str, told: str) -> None:
    step = StepStarted("a", 1, 1, "", "FROM x", 1)
    assert plain([step, StepFinished("a", cached=False, seconds=1, reason=reason)])[1] == f"#1 DONE 1.0s{told}"


def test_a_failed_step_is_told() -> None:
    lines = plain([StepStarted("a", 1, 1, "", "RUN false", 1), StepError("a", "exit status 1", 0.1)])
    assert lines == ["#1 [1/1] RUN false", "#1 ERROR exit status 1", ""]


def test_a_transfer_is_told_when_its_state_changes() -> None:
    events: list[Event] = [
        Transfer("3f2a", "downloading", 0, 3000),
        Transfer("3f2a", "downloading", 1000, 3000),
        Transfer("3f2a", "extracting", 0, 3000),
        Transfer("3f2a", "done"),
        Notice("old kernel", "warning"),
        Notice("hello"),
        Output("stdout", b"not progress"),
    ]
    assert plain(events) == [
        "3f2a: downloading 3kB",
        "3f2a: extracting 3kB",
        "3f2a: done",
        "warning: old kernel",
        "hello",
    ]


def test_a_live_display_ends_with_every_step_told_once() -> None:
    stream = io.StringIO()
    live = LiveProgress(stream, lambda: 40)
    for event in BUILD:
        live(event)
    live.close()
    text = stream.getvalue()
    assert text.count("#1 [base 1/2] FROM alpine CACHED\n") == 1
    assert text.count("#2 [base 2/2] RUN make DONE 1.2s (not cached: file changed: app.py)\n") == 1
    assert "\x1b[1A" in text
    assert text.endswith("built abababababab as tool:1 in 1.3s\n\r\x1b[0J")
    assert max(len(line) for line in text.replace("\r", "\n").splitlines() if "   " in line) < 60


def test_bars_are_drawn_for_what_is_under_way() -> None:
    assert transfer_line(Transfer("a", "downloading", 1000, 2000)) == "a: downloading [==========>         ] 1kB/2kB"
    assert transfer_line(Transfer("a", "done", 2000, 2000)) == "a: done"


def test_what_is_kept_of_a_chatty_step_is_bounded() -> None:
    progress = Progress()
    progress.fold(StepStarted("a", 1, 1, "", "RUN yes", 1))
    for number in range(20_000):
        progress.fold(StepOutput("a", "stdout", b"%d yes yes yes\n" % number))
    progress.fold(StepFinished("a", cached=False, seconds=1, reason="never built"))
    step = progress.steps["a"]
    assert len(step.log) <= LOG_LIMIT
    assert step.omitted > 100_000
    assert step.log.startswith(str(int(step.log.split()[0])))
    assert step.tail(1) == ["19999 yes yes yes"]
    assert outcome(step) == "DONE 1.0s (not cached: never built)"


def test_what_still_runs_when_all_is_over_was_canceled() -> None:
    progress = Progress(clock=lambda: 5.0)
    progress.fold(StepStarted("a", 1, 3, "", "RUN x", 1))
    progress.fold(StepStarted("b", 2, 3, "", "RUN y", 2))
    progress.fold(StepFinished("b", cached=True, seconds=0))
    progress.close()
    assert [step.state for step in progress.steps.values()] == ["canceled", "cached"]
    assert progress.summary() == "2 of 2 steps, 1 cached"


def test_a_carriage_return_overwrites_as_on_a_terminal() -> None:
    progress = Progress()
    progress.fold(StepStarted("a", 1, 1, "", "RUN x", 1))
    progress.fold(StepOutput("a", "stdout", b"10%\r50%\r100%\nnext\r\n"))
    assert progress.steps["a"].tail(5) == ["100%", "next"]


def test_unknown_steps_are_ignored() -> None:
    assert (
        plain([StepOutput("x", "stdout", b"a\n"), StepFinished("x", cached=True, seconds=0), StepError("x", "", 0)])
        == []
    )
