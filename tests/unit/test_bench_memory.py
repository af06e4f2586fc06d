"""The memory that the benchmark of builds tells: the peak of a process and of those it started, each page once."""

from __future__ import annotations

import subprocess
import sys
import time

from bench import memory

MIB = 1 << 20
# Two processes share 64 MiB; what the first one has of its own goes away before the end.
PROGRAM = """
import os, sys
shared = b"s" * (64 << 20)
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    os.close(writing)
    os.read(reading, 1)
    os._exit(0)
own = b"o" * (48 << 20)
print(flush=True)
sys.stdin.readline()
del own
print(flush=True)
sys.stdin.readline()
os.close(writing)
os.waitpid(child, 0)
"""


def test_the_peak_is_that_of_all_processes_with_shared_pages_counted_once() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        with memory.watched(process.pid) as peak:
            process.stdin.write("\n")
            process.stdin.flush()
            process.stdout.readline()
            deadline = time.monotonic() + 60
            while memory.proportional(memory.below(process.pid)) > 100 * MIB and time.monotonic() < deadline:
                time.sleep(0.05)
        after = memory.proportional(memory.below(process.pid))
        process.communicate()
    assert 112 * MIB < peak.size < 160 * MIB
    assert 64 * MIB < after < 100 * MIB
