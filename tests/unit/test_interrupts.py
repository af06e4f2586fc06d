"""A signal that does not end the system call the main thread waits in: it came just before, or to another thread."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import pytest

from jupyter_containers.build.cancel import CancelToken
from jupyter_containers.build.graph import Graph, Place, Source
from jupyter_containers.build.solver import solve
from jupyter_containers.commands.terminal import Copying
from jupyter_containers.engine.launch.streams import OutputPipes
from jupyter_containers.errors import SourceRange
from jupyter_containers.registry.progress import run_all
from jupyter_containers.runtime.handle import Process

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_containers.engine import Session


def _pump(_late: threading.Event) -> None:
    pipes = OutputPipes()
    try:
        pipes.pump(lambda _stream, _data: None)
    finally:
        pipes.close()


def _copy(_late: threading.Event) -> None:
    class Silent:
        stdin = -1

        def __init__(self, output: int) -> None:
            self.outputs = {output: "stdout"}

    reader, writer = os.pipe()
    try:
        Copying(cast("Session", Silent(reader)), -1, b"").run()
    finally:
        os.close(reader)
        os.close(writer)


def _wait_for_a_process(_late: threading.Event) -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        Process(near).wait()


def _solve(late: threading.Event) -> None:
    graph = Graph()
    graph.add(Source("top", ()), (), Place("s", 1, 1, SourceRange("Dockerfile", 1, 1), "FROM top"))
    solve(graph, lambda _vertex, _inputs: late.wait(20), cancel=CancelToken())


def _transfer(late: threading.Event) -> None:
    class Transport:
        def cancel(self) -> None:
            late.set()

    run_all(cast("Any", Transport()), [lambda: late.wait(20)])


@pytest.mark.parametrize("waiting", [_pump, _copy, _wait_for_a_process, _solve, _transfer])
def test_a_signal_that_ends_no_system_call_is_heard(waiting: Callable[[threading.Event], None]) -> None:
    late = threading.Event()

    class Heard(BaseException):
        pass

    def hear(_number: int, _frame: object) -> None:
        late.set()
        raise Heard

    before = signal.signal(signal.SIGUSR1, hear)
    try:
        with ThreadPoolExecutor(1) as pool:

            def send() -> None:
                time.sleep(0.4)  # it waits by then
                signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

            began = time.monotonic()
            pool.submit(send)
            rescue = threading.Timer(20, os.kill, (os.getpid(), signal.SIGUSR1))
            rescue.start()
            with pytest.raises(Heard):
                waiting(late)
            rescue.cancel()
        assert time.monotonic() - began < 15
    finally:
        signal.signal(signal.SIGUSR1, before)
