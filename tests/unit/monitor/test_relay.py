from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.monitor import relay
from jupyter_containers.monitor.loop import READ, Loop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BIG = 3 << 20


@given(st.lists(st.tuples(st.binary(max_size=400_000), st.integers(0, 500_000)), max_size=12))
def test_a_backlog_gives_back_what_was_put_in(steps: list[tuple[bytes, int]]) -> None:
    backlog = relay.Backlog("/tmp")
    put, got = bytearray(), bytearray()
    for data, most in steps:
        backlog.put(data)
        put += data
        part = backlog.peek(most)
        backlog.take(len(part))
        got += part
        assert len(backlog) == len(put) - len(got)
    while part := backlog.peek(100_000):
        backlog.take(len(part))
        got += part
    assert got == put
    backlog.close()


def turn_until(loop: Loop, condition: Callable[[], bool]) -> None:
    loop.after("patience", 20, lambda: pytest.fail("it did not happen"))
    while not condition():
        loop.turn()


def test_a_slow_pipe_gets_everything_and_nobody_waits(tmp_path: Path) -> None:
    loop = Loop()
    source_read, source_write = os.pipe()
    read, write = os.pipe()
    output = relay.Output(loop, source_read, "stdout", None, str(tmp_path))
    output.add(write)
    sent = 0
    while sent < BIG:
        sent += os.write(source_write, b"x" * 32768)
        loop.turn()
    os.close(source_write)
    turn_until(loop, lambda: output.ended)
    assert output.busy()
    data = 0
    while output.busy():
        data += len(os.read(read, 65536))
        loop.turn() if output.busy() else None
    while chunk := os.read(read, 65536):
        data += len(chunk)
    assert data == BIG
    os.close(read)
    assert os.listdir(tmp_path) == []


def test_a_client_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    loop = Loop()
    source_read, source_write = os.pipe()
    read, write = os.pipe()
    near, far = socket.socketpair()
    output = relay.Output(loop, source_read, "stdout", None, str(tmp_path))
    output.add(write)
    output.add(near.detach())
    os.close(read)
    far.close()
    os.write(source_write, b"x")
    loop.turn()
    os.write(source_write, b"y")
    loop.turn()
    os.close(source_write)
    turn_until(loop, lambda: output.ended)
    assert not output.busy()
    assert loop.idle()


def test_a_file_is_appended_where_its_owner_is(tmp_path: Path) -> None:
    loop = Loop()
    source_read, source_write = os.pipe()
    path = tmp_path / "out"
    path.write_bytes(b"before ")
    descriptor = os.open(path, os.O_WRONLY)
    os.lseek(descriptor, 7, os.SEEK_SET)
    output = relay.Output(loop, source_read, "stdout", None, str(tmp_path))
    output.add(descriptor)
    os.write(source_write, b"after")
    os.close(source_write)
    turn_until(loop, lambda: output.ended)
    assert path.read_bytes() == b"before after"


def test_input_waits_for_the_container_and_ends_with_its_client() -> None:
    loop = Loop()
    read, write = os.pipe()
    client_read, client_write = os.pipe()
    fed = relay.Input(loop, write, once=True, terminal=False)
    fed.add(client_read)
    os.set_blocking(client_write, False)
    sent, got = 0, 0
    loop.watch(read, READ, lambda: None)
    while sent < BIG:
        try:
            sent += os.write(client_write, b"y" * 32768)
        except BlockingIOError:
            got += len(os.read(read, 65536))
        loop.turn()
    os.close(client_write)
    os.set_blocking(read, False)
    while not fed.closed:
        with suppress(BlockingIOError):
            got += len(os.read(read, 65536))
        loop.turn()
    os.set_blocking(read, True)
    while chunk := os.read(read, 65536):
        got += len(chunk)
    assert got == sent
    loop.forget(read)
    os.close(read)
    assert loop.idle()


def test_a_client_that_leaves_just_before_its_input_ends_does_not_end_the_containers() -> None:
    loop = Loop()
    read, write = os.pipe()
    client_read, client_write = os.pipe()
    fed = relay.Input(loop, write, once=True, terminal=False)
    fed.add(client_read)
    os.close(client_write)
    loop.turn()  # sees the end; that the client left is heard of by the next one only
    fed.release(client_read)
    again_read, again_write = os.pipe()
    assert again_read == client_read  # the next client's has the number of the first one's
    fed.add(again_read)
    os.write(again_write, b"hello")
    loop.turn()
    assert os.read(read, 10) == b"hello"
    loop.after("a look at timers", 0.001, lambda: None)
    loop.turn()
    assert not fed.closed
    fed.abandon()
    os.close(read)
    os.close(again_write)


def test_input_of_a_container_that_reads_no_more_is_dropped() -> None:
    loop = Loop()
    read, write = os.pipe()
    client_read, client_write = os.pipe()
    fed = relay.Input(loop, write, once=False, terminal=False)
    fed.add(client_read)
    os.close(read)
    os.write(client_write, b"nobody")
    turn_until(loop, lambda: fed.closed)
    with pytest.raises(BrokenPipeError):
        os.write(client_write, b"x")
    os.close(client_write)


def test_timers_and_descriptors_share_the_loop() -> None:
    loop = Loop()
    read, write = os.pipe()
    happened: list[str] = []
    loop.watch(read, READ, lambda: happened.append(os.read(read, 10).decode()))
    loop.after("t", 0.01, lambda: happened.append("timer"))
    turn_until(loop, lambda: bool(happened))
    os.write(write, b"data")
    turn_until(loop, lambda: len(happened) == 2)
    assert happened == ["timer", "data"]
    loop.forget(read)
    loop.forget(read)
    assert not loop.watches(read)
    os.close(read)
    os.close(write)
