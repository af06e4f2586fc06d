from __future__ import annotations

import os
import subprocess
import sys

from jupyter_containers.monitor import watchdog

PARENT = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "x = bytearray(b'x' * 50_000_000); print(len(x), flush=True); input()"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
input()
"""


def test_descendants_and_what_they_use() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert watchdog.descendants(process.pid) == [process.pid, child]
        assert watchdog.resident(child) > 50_000_000 > watchdog.resident(process.pid)
        assert watchdog.private(child) > 50_000_000
        process.communicate("\n")
    assert watchdog.descendants(process.pid) == [process.pid]
    assert watchdog.private(process.pid) == 0
    assert os.getpid() not in watchdog.descendants(process.pid)
