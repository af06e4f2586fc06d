from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

from jupyter_containers.linux import namespaces

if TYPE_CHECKING:
    from pathlib import Path

ORPHAN = """
import os, time
from _socket import AF_UNIX, SOCK_SEQPACKET, socketpair
from jupyter_containers.linux import syscalls
from jupyter_containers.runtime.process_start import Start
near, far = socketpair(AF_UNIX, SOCK_SEQPACKET)
parent = os.getpid()
pid, _pidfd = syscalls.clone(0)
if pid == 0:
    while os.getppid() == parent:  # the monitor dies before this process could ask to be told
        time.sleep(0.005)
    null = os.open("/dev/null", os.O_RDWR)
    start = Start({}, {}, [null, null, null], far)
    start.run([start.bind_to_parent, start.await_permission, lambda: time.sleep(60)])
print(pid, flush=True)
os._exit(0)
"""


def test_an_init_whose_monitor_died_at_once_ends_too(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    with told.open("w") as file:  # a pipe would be waited for until the init has closed it
        subprocess.run([sys.executable, "-c", ORPHAN], stdout=file, stderr=subprocess.DEVNULL, check=True)
    pid = int(told.read_text())
    deadline = time.monotonic() + 10
    while namespaces.start_time(pid):
        if time.monotonic() > deadline:
            subprocess.run(["kill", "-9", str(pid)], check=True)
            raise AssertionError("it waits for a monitor that is dead")
        time.sleep(0.01)
    assert namespaces.start_time(pid) == 0
