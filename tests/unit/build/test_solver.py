"""The schedule in every order of events; the driver on fake vertices that count how often they are run."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.build.cancel import CancelToken
from jupyter_containers.build.graph import Graph, Place, Source, Vertex
from jupyter_containers.build.solver import Schedule, solve
from jupyter_containers.errors import Cancelled, InvalidInput, SourceRange

PLACE = Place("s", 1, 1, SourceRange("Dockerfile", 1, 1), "FROM x")


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    size = draw(st.integers(0, 12))
    needs = {}
    for number in range(size):
        inputs = draw(st.lists(st.integers(0, number - 1), max_size=4)) if number else []
        needs[str(number)] = tuple(map(str, inputs))
    return needs


@given(graphs(), st.randoms(use_true_random=False))
def test_each_vertex_is_given_out_once_and_after_its_inputs(needs: dict[str, tuple[str, ...]], random: object) -> None:
    choose = getattr(random, "choice")  # noqa: B009 - hypothesis' Random is not typed
    schedule: Schedule[int] = Schedule(needs)
    running: list[str] = []
    given_out: Counter[str] = Counter()
    while schedule.active:
        for key in schedule.ready():
            assert all(name in schedule.results for name in needs[key])
            given_out[key] += 1
            running.append(key)
        key = choose(running)
        running.remove(key)
        schedule.done(key, int(key))
    assert given_out == Counter(needs.keys())
    assert schedule.results == {key: int(key) for key in needs}


def test_nothing_new_starts_after_a_failure() -> None:
    schedule: Schedule[int] = Schedule({"a": (), "b": (), "c": ("a",)})
    assert schedule.ready() == ["a", "b"]
    schedule.failed("b")
    assert schedule.active
    schedule.done("a", 1)
    assert schedule.ready() == []
    assert not schedule.active


@pytest.mark.parametrize("needs", [{"a": ("b",)}, {"a": ("b",), "b": ("a",)}, {"a": ("a",)}])
def test_what_cannot_be_ordered_is_refused(needs: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(ValueError, match=r"not in the graph|cycle"):
        Schedule(needs)


def diamond() -> tuple[Graph, list[str]]:
    graph = Graph()
    top = graph.add(Source("top", ()), (), PLACE)
    left = graph.add(Source("left", ()), (top,), PLACE)
    right = graph.add(Source("right", ()), (top,), PLACE)
    return graph, [top, left, right, graph.add(Source("end", ()), (left, right), PLACE)]


def test_equal_definitions_are_one_vertex() -> None:
    graph, _ = diamond()
    again, _ = diamond()
    assert list(graph.vertices) == list(again.vertices)
    graph.add(Source("top", ()), (), Place("other", 2, 2, SourceRange("x", 9, 9), "FROM y"))
    assert len(graph) == 4
    with pytest.raises(ValueError, match="not in the graph"):
        graph.add(Source("x", ()), ("nosuch",), PLACE)


def name(vertex: Vertex) -> str:
    assert isinstance(vertex.operation, Source)
    return vertex.operation.name


def test_independent_vertices_run_at_the_same_time_and_each_once() -> None:
    graph, keys = diamond()
    counts: Counter[str] = Counter()
    barrier = threading.Barrier(2, timeout=10)

    def work(vertex: Vertex, inputs: tuple[str, ...]) -> str:
        counts[name(vertex)] += 1
        if name(vertex) in {"left", "right"}:
            barrier.wait()
        return f"{name(vertex)}({','.join(inputs)})"

    results = solve(graph, work, cancel=CancelToken())
    assert results[keys[-1]] == "end(left(top()),right(top()))"
    assert counts == Counter(top=1, left=1, right=1, end=1)


def test_a_failure_cancels_the_others_and_is_what_is_raised() -> None:
    graph, _ = diamond()
    cancel = CancelToken()
    running, stopped = threading.Event(), threading.Event()

    def work(vertex: Vertex, _inputs: tuple[str, ...]) -> str:
        if name(vertex) == "left":
            with cancel.calling(stopped.set):
                running.set()
                assert stopped.wait(10)
            cancel.check()
        if name(vertex) == "right":
            assert running.wait(10)
            raise InvalidInput("broken")
        assert name(vertex) != "end"
        return ""

    with pytest.raises(InvalidInput, match="broken"):
        solve(graph, work, cancel=cancel)
    assert stopped.is_set()


def test_one_job_at_a_time() -> None:
    graph, _ = diamond()
    active = threading.Semaphore(1)

    def work(_vertex: Vertex, _inputs: tuple[str, ...]) -> str:
        assert active.acquire(blocking=False)
        active.release()
        return ""

    assert len(solve(graph, work, cancel=CancelToken(), jobs=1)) == 4


def test_what_waited_for_a_thread_is_not_begun_after_a_failure() -> None:
    graph, _ = diamond()
    begun: list[str] = []

    def work(vertex: Vertex, _inputs: tuple[str, ...]) -> str:
        begun.append(name(vertex))
        if name(vertex) == "left":
            raise InvalidInput("broken")
        return ""

    with pytest.raises(InvalidInput, match="broken"):
        solve(graph, work, cancel=CancelToken(), jobs=1)
    assert begun == ["top", "left"]


def test_an_interrupt_cancels_and_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, _ = diamond()
    cancel = CancelToken()
    stopped = threading.Event()

    def work(_vertex: Vertex, _inputs: tuple[str, ...]) -> str:
        with cancel.calling(stopped.set):
            assert stopped.wait(10)
        return ""

    def interrupted(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("jupyter_containers.build.solver.wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        solve(graph, work, cancel=cancel)
    assert stopped.is_set()


def test_a_token_calls_each_callback_once_and_late_ones_at_once() -> None:
    token = CancelToken()
    calls: list[str] = []
    with token.calling(lambda: calls.append("gone")):
        pass
    with token.calling(lambda: calls.append("kept")):
        token.cancel()
        token.cancel()
    with token.calling(lambda: calls.append("late")):
        assert calls == ["kept", "late"]
    with pytest.raises(Cancelled):
        token.check()


def test_an_empty_graph_has_no_results() -> None:
    assert solve(Graph(), lambda _vertex, _inputs: "", cancel=CancelToken()) == {}
