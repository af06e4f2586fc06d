"""Containers inside another user namespace, and by a root who has no privileges, as in a pod or another container."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support import rootfs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.skipif(not rootfs.available(), reason="needs a static busybox")

# The upper directory must be able to carry what overlay writes down there: a directory made anew hides the old one.
SCRIPT = """
import os, sys
from jupyter_containers.engine import Engine
with Engine(sys.argv[1]) as engine:
    print(engine.doctor().rung)
    script = "id -u; rm -r /var; mkdir /var; ls /var; touch /made; stat -c %u /made; grep Seccomp: /proc/self/status"
    held = engine.containers.run("starter", ["sh", "-c", f"{script}; sleep 600"], detach=True, name="held")
    seen = engine.containers.exec("held", ["id", "-u"])
    print(seen.stdout.strip())
    while not any(b"Seccomp" in entry.data for entry in engine.containers.logs("held")):
        pass
    print(b"".join(entry.data for entry in engine.containers.logs("held")).decode())
    engine.containers.remove("held", force=True)
"""
OUTPUT = ["0", "0", "0", "Seccomp:", "2"]


def check(command: list[str], store: Path, rungs: set[str]) -> None:
    done = subprocess.run(
        [*command, sys.executable, "-c", SCRIPT, str(store)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rung, *words = done.stdout.split()
    assert rung in rungs
    assert words == OUTPUT


@pytest.mark.parametrize("depth", [1, 2])
def test_in_a_user_namespace(need_tool: Callable[[str], str], store_root: Path, no_leaks: None, depth: int) -> None:  # noqa: ARG001 - checks afterwards
    unshare = [need_tool("unshare"), "--user", "--map-root-user"]
    if subprocess.run([*unshare * depth, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this host allows no user namespaces here")
    check(unshare * depth, store_root, {"rootless-single-id"})


@pytest.mark.root
def test_as_a_root_without_privileges(need_tool: Callable[[str], str], store_root: Path, no_leaks: None) -> None:  # noqa: ARG001 - the same
    command = [need_tool("setpriv"), "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    if subprocess.run([*command, "true"], check=False, capture_output=True).returncode:
        pytest.skip("capabilities cannot be dropped here")
    check(command, store_root, {"rootless", "rootless-single-id"})


def test_a_filter_that_hides_clone3_is_got_around(tmp_path: Path) -> None:
    """Docker's filter answers ENOSYS to clone3, so that clone, which it can look into, is used instead."""
    code = """
import os, struct
from jupyter_containers.linux import syscalls
filter = [(0x20, 0, 0, 0), (0x15, 0, 1, 435), (6, 0, 0, 0x00050026), (6, 0, 0, 0x7FFF0000)]
syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
syscalls.load_seccomp(b"".join(struct.pack("=HBBI", *each) for each in filter))
pid, pidfd = syscalls.clone(0)
if pid == 0:
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), pidfd >= 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.split() == ["7", "True"]
    assert os.getpid() > 0
