"""Kill -9 of a kernel in the middle of its work: the next command of another one clears up, and the store works."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import leaks

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.notebook.conftest import Kernel

pytestmark = pytest.mark.root

BUILD = """%%container build -t killed
FROM starter
RUN echo one > /one
RUN echo wor''king; head -c 5000000 /dev/zero > /big; sleep 60
"""
AGAIN = """%%container build -t again
FROM starter
RUN echo one > /one
RUN echo two > /two
"""
RUN = "%container run {options} --name victim -v /scratch -v kept:/kept starter sh -c 'echo working; sleep 60'"


def kill_in_the_middle(kernel: Kernel, cell: str) -> None:
    """Start a cell, wait until its container speaks, and kill the kernel as the out-of-memory killer would."""
    message = kernel.start(cell)
    seen = kernel.finish(message, until="working")
    assert not seen.status, seen
    pid = kernel.manager.provisioner.pid
    os.kill(pid, signal.SIGKILL)
    leaks.wait_until(lambda: not leaks.alive(pid), what="the end of the kernel")


def locks(store: Path) -> list[str]:
    """The locked files of a store (proc_locks(5): the sixth field is device and inode)."""
    places = {path.stat().st_ino: str(path) for path in store.rglob("*lock*") if path.is_file()}
    inodes = [int(line.split()[5].rpartition(":")[2]) for line in Path("/proc/locks").read_text().splitlines()]
    return sorted(places[inode] for inode in inodes if inode in places)


def left(store: Path, before: leaks.Snapshot, kernel: Kernel) -> list[str]:
    """The mounts, processes, cgroups and locks there are beyond the kernel that lives."""
    stopped = kernel.run("%unload_ext jupyter_containers")
    assert stopped.status == "ok", stopped
    own = str(kernel.manager.provisioner.pid)
    found = leaks.remaining(store, before)
    return [line for line in found if not line.startswith((f"process {own} ", "link "))] + locks(store)


def test_in_the_middle_of_a_build(start_kernel: Callable[[], Kernel], store_root: Path) -> None:
    first = start_kernel()
    before = leaks.take(store_root)
    first.run("%container pull starter")
    kill_in_the_middle(first, BUILD)
    second = start_kernel()
    ended = second.run(AGAIN)
    assert ended.status == "ok", ended
    steps = second.run("[step.cached for step in _.build.steps if step.text.startswith('RUN')]")
    assert steps.data["text/plain"] == "[True, False]"
    listed = second.run("%container images -q")
    assert len(listed.data["text/plain"].split(",")) == 2  # starter and again
    assert left(store_root, before, second) == []
    assert os.listdir(store_root / "scratch") == ["lock"]
    assert os.listdir(store_root / "content" / "ingest") == []


@pytest.mark.parametrize("options", ["--rm", ""])
def test_in_the_middle_of_a_run(start_kernel: Callable[[], Kernel], store_root: Path, options: str) -> None:
    first = start_kernel()
    before = leaks.take(store_root)
    first.run("%container pull starter")
    kill_in_the_middle(first, RUN.format(options=options))
    second = start_kernel()
    rows = second.run("f = %container ps -a\nf[['name', 'state', 'exit_code']].values.tolist()")
    assert rows.data["text/plain"] == ("[]" if options else "[['victim', 'exited', 137]]"), rows
    volumes = second.run("v = %container volume ls\nsorted(v['anonymous'].tolist())")
    assert volumes.data["text/plain"] == ("[False]" if options else "[False, True]"), volumes
    fine = second.run("%container run --rm -v kept:/kept starter echo fine")
    assert fine.stdout == "fine\n", fine
    second.run("%container rm -f -v victim")
    assert left(store_root, before, second) == []
    assert os.listdir(store_root / "containers") == []
    assert os.listdir(store_root / "scratch") == ["lock"]
