"""Pipes between a container and its listener."""

from __future__ import annotations

import io
import os
import threading

import pytest

from jupyter_containers.engine.launch.streams import Capture, InputFeed, OutputPipes


def test_a_capture_keeps_the_end_of_a_long_output() -> None:
    capture = Capture(limit=10)
    for piece in (b"aaaa", b"bbbb", b"cccc"):
        capture.add(piece)
    assert capture.bytes() == b"bbbbcccc"
    assert capture.dropped == 4


def test_output_is_told_by_stream_and_in_order() -> None:
    pipes = OutputPipes()
    told: list[tuple[str, bytes]] = []

    def write() -> None:
        os.write(pipes.stdout, b"one")
        os.write(pipes.stderr, b"two")
        pipes.close_writers()

    writer = threading.Thread(target=write)
    writer.start()
    pipes.pump(lambda stream, data: told.append((stream, data)))
    writer.join()
    pipes.close()
    pipes.close()
    assert sorted(told) == [("stderr", b"two"), ("stdout", b"one")]


@pytest.mark.parametrize("source", [b"x" * 300_000, io.BytesIO(b"x" * 300_000)])
def test_input_larger_than_a_pipe_arrives_whole(source: bytes | io.BytesIO) -> None:
    feed = InputFeed(source)
    with os.fdopen(os.dup(feed.descriptor), "rb") as reader:
        feed.close()
        assert reader.read() == b"x" * 300_000


def test_a_reader_that_goes_away_ends_the_feed() -> None:
    before = set(threading.enumerate())
    feed = InputFeed(b"x" * 300_000)
    feed.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=5)
        assert not thread.is_alive()


def test_no_input_is_an_empty_one() -> None:
    feed = InputFeed(None)
    assert os.read(feed.descriptor, 1) == b""
    feed.close()
