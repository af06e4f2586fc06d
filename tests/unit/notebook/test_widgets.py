"""Widgets without a browser: what they are made of, what they are without anywidget, how they are bounded."""

from __future__ import annotations

import hashlib
import threading
from importlib import resources
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.errors import UsageError
from jupyter_containers.notebook import widgets
from jupyter_containers.notebook.widgets import static
from jupyter_containers.notebook.widgets.live import feeds

if TYPE_CHECKING:
    from jupyter_containers.engine import Engine

XTERM = {
    "xterm.mjs": "b336ec65a086c056d4804b3d4c2347da5663d3f23c3f25be866467bd8857ad59",
    "xterm.css": "854a7c0fb70e8b1a083c16797ab827299fb18744f5ad34f227b48337e33293c6",
    "LICENSE": "b569f629d00f2626a8100df2a1798210535621e42164dfd426a6fe5aac7b0ccd",
}


def test_xterm_is_the_published_one() -> None:
    place = resources.files(widgets) / "web" / "xterm"
    assert {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in place.iterdir()} == XTERM


def test_functions_stay_functions_when_a_widget_was_made() -> None:
    pytest.importorskip("anywidget")
    widgets.open_terminal(
        lambda: pytest.fail("no engine yet"), "a shell", lambda _sink, _console: pytest.fail("no page")
    )
    assert all(callable(getattr(widgets, name)) for name in widgets.__all__)


def test_without_anywidget_there_is_a_table_and_a_sentence(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(widgets, "available", lambda: False)
    shown = widgets.dashboard(engine=lambda: engine)
    assert isinstance(shown, static.Static)
    assert "<caption>Containers, " in shown.html
    assert shown.text.endswith("pip install 'ipycontainers[widgets]', then restart the kernel.")


def test_without_anywidget_networks_and_layers_are_drawn_and_a_build_is_done(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(widgets, "available", lambda: False)
    built = widgets.build(dockerfile="FROM starter\nRUN echo hello > /note", tag="app:1", engine=lambda: engine)
    assert built.names == ("app:1",)
    for shown in (widgets.networks(engine=lambda: engine), widgets.layers("app:1", engine=lambda: engine)):
        assert "<svg" in shown.html
        assert shown.text.endswith("then restart the kernel.")


@pytest.mark.parametrize("kind", ["dashboard", "networks"])
def test_a_follower_ends_though_another_page_has_come_meanwhile(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    pytest.importorskip("anywidget")
    board = getattr(widgets, kind)(engine=lambda: engine)
    looked = iter([True, False])
    monkeypatch.setattr(type(board), "watched", property(lambda _self: next(looked, True)))
    follower = threading.Thread(target=board.follow, daemon=True)
    follower.start()
    follower.join(30)
    assert not follower.is_alive()


def test_outside_of_a_notebook_the_engine_must_be_given() -> None:
    with pytest.raises(UsageError, match="there is no notebook here"):
        widgets.dashboard()


def test_text_in_a_static_form_is_no_html() -> None:
    made = static.table("Names", ("Name",), [("<script>alert(1)</script>",)])
    assert "<script" not in made.html
    assert "&lt;script&gt;" in made.html
    assert "<script>alert(1)</script>" in made.text


def test_a_feed_hands_over_bounded_pieces_and_says_what_it_left_out() -> None:
    got: list[tuple[list[tuple[str, str]], int]] = []
    feed = feeds.LineFeed(lambda lines, lost: got.append((lines, lost)), lambda: True)
    feed.take("stdout", "".join(f"{number}\n" for number in range(20_000)) + "an unfin")
    feed.take("stderr", "beside\r\n")
    feed.take("stdout", "ished line")
    with feed.sending():
        pass
    assert all(len(lines) <= feeds.MOST_LINES for lines, _lost in got)
    assert sum(len(lines) + lost for lines, lost in got) == 20_002
    assert got[-1][0][-2:] == [("stderr", "beside"), ("stdout", "an unfinished line")]
    assert len(feed.kept) == feeds.KEPT_LINES


def test_a_feed_nobody_looks_at_hands_over_nothing() -> None:
    feed = feeds.LineFeed(lambda _lines, _lost: pytest.fail("nobody looks"), lambda: False)
    with feed.sending():
        feed.take("stdout", "a line\n")
    assert list(feed.kept) == [("stdout", "a line")]


def test_a_log_is_followed_between_two_moments(engine: Engine) -> None:
    engine.containers.run("starter", ["echo", "said"], name="talker", network="none")
    shown = {}
    for moments in ({}, {"since": "2020-01-01"}, {"until": "2020-01-01"}):
        feed = feeds.LineFeed(lambda _lines, _lost: None, lambda: True)
        feeds.follow_log(engine, "talker", feed, tail=None, wanted=lambda: True, **moments)
        shown["".join(moments)] = list(feed.kept)
    assert shown == {"": [("stdout", "said")], "since": [("stdout", "said")], "until": []}


def test_a_terminal_takes_keys_and_the_keys_that_detach() -> None:
    pytest.importorskip("anywidget")
    from jupyter_containers.notebook.widgets.live.terminal import WidgetConsole

    console = WidgetConsole()
    try:
        assert console.type(b"ls\n")
        assert not console.type(b"x" * (4 << 20))  # more than anybody types, and nobody reads
    finally:
        console.close()
    assert console.type(b"after the end")
    console.close()


def test_requests_beyond_the_limit_are_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("anywidget")
    from jupyter_containers.notebook.widgets.live import base

    release = threading.Event()
    told: list[object] = []
    slow = base.Live(lambda: pytest.fail("no engine"), lambda: static.Static.of_text("slow"))
    monkeypatch.setattr(slow, "answer", lambda *_request: release.wait(60))
    monkeypatch.setattr(slow, "tell", lambda kind, **content: told.append((kind, content["text"])))
    threads = [slow.begin(slow._serve, "wait", {}, []) for _ in range(20)]
    try:
        for thread in threads:
            thread.join(0.1)
            if told:
                break
    finally:
        release.set()
    for thread in threads:
        thread.join(60)
    assert ("problem", "too much at once") in told
