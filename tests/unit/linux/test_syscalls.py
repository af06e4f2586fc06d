from __future__ import annotations

import os
import platform
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.linux import syscalls

if TYPE_CHECKING:
    from pathlib import Path


def test_numbers_are_known_for_two_architectures() -> None:
    intel, arm = syscalls.numbers("x86_64"), syscalls.numbers("aarch64")
    assert set(intel) == set(arm)
    assert (intel["mount"], arm["mount"]) == (165, 40)
    assert intel["clone3"] == arm["clone3"] == 435
    assert platform.machine() in {"x86_64", "aarch64"}
    with pytest.raises(OSError, match="riscv64"):
        syscalls.numbers("riscv64")


def test_a_failing_call_raises_with_its_errno() -> None:
    with pytest.raises(OSError, match="setns: ") as caught:
        syscalls.setns(-1, 0)
    assert caught.value.errno == 9


CHILD = """
import os, sys
from jupyter_containers.linux import syscalls
if "fallback" in sys.argv:
    original = syscalls.call
    def call(name, *arguments):
        if name == "clone3":
            raise OSError(38, "clone3")
        return original(name, *arguments)
    syscalls.call = call
pid, pidfd = syscalls.clone(0)
if pid == 0:
    os._exit(42 if pidfd == -1 else 1)
import select
assert select.select([pidfd], [], [], 10)[0]
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42
assert not os.get_inheritable(pidfd)
print("cloned")
"""


@pytest.mark.parametrize("arguments", [[], ["fallback"]])
def test_clone_in_a_process_with_one_thread(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", CHILD, *arguments], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("cloned\n", "")


def test_a_signal_by_pidfd() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        pidfd = os.pidfd_open(process.pid)
        syscalls.pidfd_send_signal(pidfd, signal.SIGTERM)
        assert select.select([pidfd], [], [], 10)[0]
        assert process.wait() == -signal.SIGTERM
        with pytest.raises(ProcessLookupError):
            syscalls.pidfd_send_signal(pidfd, signal.SIGTERM)
        os.close(pidfd)


def test_openat2_keeps_links_in_the_root(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("inside")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "up").symlink_to("../../../../../../etc/passwd")
    root = os.open(tmp_path, os.O_PATH)
    for name in (b"link", b"up", b"../../etc/passwd"):
        found = syscalls.openat2(root, name, os.O_RDONLY, resolve=syscalls.RESOLVE_IN_ROOT)
        assert os.read(found, 100) == b"inside"
        assert not os.get_inheritable(found)
        os.close(found)
    with pytest.raises(OSError, match="openat2"):
        syscalls.openat2(root, b"link", os.O_RDONLY, resolve=syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_SYMLINKS)
    os.close(root)


def test_close_range_marks_descriptors() -> None:
    code = (
        "import os; from jupyter_containers.linux import syscalls;"
        "read, write = os.pipe(); os.set_inheritable(read, True);"
        "syscalls.close_range(3, flags=syscalls.CLOSE_RANGE_CLOEXEC); print(os.get_inheritable(read));"
        "syscalls.close_range(3)\n"
        "try: os.fstat(read)\nexcept OSError: print('closed')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\nclosed\n"


def test_permitted_capabilities_are_those_of_proc() -> None:
    with open("/proc/self/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith("CapPrm:"))
    assert syscalls.permitted_capabilities() == int(line.split()[1], 16)
