"""Containers that are moved between two stores, and sides that are killed while they do it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from jupyter_containers.engine import Engine
from tests.support import leaks

if TYPE_CHECKING:
    from pathlib import Path

# What a side does until it is killed: after so many frames that it has put on the wire.
KILLED_AT_FRAME = textwrap.dedent("""
    import os, signal, sys
    from jupyter_containers.engine.move import channel as move_channel
    left = int(sys.argv[1])
    whole = move_channel.Channel._put
    def put(self, letter, data):
        global left
        left -= 1
        whole(self, letter, data)
        if left == 0:
            self._flush()
            os.kill(os.getpid(), signal.SIGKILL)
    move_channel.Channel._put = put
""")


def where(first: Engine, second: Path) -> tuple[list[str], list[str]]:
    """In which of the two stores the container is, as the next command there sees it."""
    with Engine(second) as engine:
        there = [row.name for row in engine.containers.list(all=True)]
    return [row.name for row in first.containers.list(all=True)], there


def await_receivers(root: Path) -> None:
    """Until the processes that served a killed one have seen that it is gone."""

    def receiving() -> list[str]:
        return [line for line in leaks.take(root).processes if "receive" in line]

    leaks.wait_until(lambda: not receiving(), what="the end of the receiver", seconds=30)
