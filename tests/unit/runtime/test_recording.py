from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.linux import mount, syscalls
from jupyter_containers.runtime.call_words import describe
from jupyter_containers.runtime.recording import MOST_CALLS, Recorder
from jupyter_containers.runtime.watched import STAGES, Page, WatchedInit

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_done_is_noted_with_times_and_errors(tmp_path: Path) -> None:
    recorder = Recorder("init")
    before = syscalls._syscall, os.open, os.mkdir

    def work() -> int:
        os.mkdir(tmp_path / "made")
        descriptor = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, b"some text\n")
        os.close(descriptor)
        with pytest.raises(FileNotFoundError):
            syscalls.openat2(syscalls.AT_FDCWD, b"/nothing", os.O_PATH, resolve=0)
        return 7

    recorder.begin()
    try:
        assert recorder.step("work", work) == 7
    finally:
        recorder.end()
    assert (syscalls._syscall, os.open, os.mkdir) == before
    ((whose, name, began, took, calls),) = recorder.steps
    assert (whose, name) == ("init", "work")
    assert began > 0
    assert took > 0
    assert [(call, text, error) for call, text, _took, error in calls] == [
        ("mkdirat", str(tmp_path / "made")[:160], ""),
        ("openat", f"{tmp_path / 'file'}, O_WRONLY | O_CREAT"[:160], ""),
        ("write", f"{tmp_path / 'file'}, some text"[:160], ""),
        ("openat2", "/nothing", "ENOENT"),
    ]
    assert all(0 <= spent <= took for *_, spent, _error in calls)


def test_the_number_of_calls_is_bounded() -> None:
    recorder = Recorder("init")
    recorder.step("many", lambda: [recorder.call("x", "", lambda: None) for _ in range(MOST_CALLS + 5)])
    assert len(recorder.steps[0][4]) == MOST_CALLS


def test_a_program_is_named_without_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "execve", lambda *_arguments: None)
    recorder = Recorder("init")
    recorder.begin()
    try:
        recorder.step("execute", lambda: os.execve("/bin/x", ["x", "--password=secret"], {"TOKEN": "secret"}))
    finally:
        recorder.end()
    assert "secret" not in str(recorder.steps)
    assert recorder.steps[0][4][0][:2] == ["execve", "/bin/x"]


@pytest.mark.parametrize(
    ("call", "arguments", "text"),
    [
        ("unshare", (syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID, 0), "CLONE_NEWNS | CLONE_NEWPID"),
        ("setns", (5, syscalls.CLONE_NEWNET), "CLONE_NEWNET"),
        ("mount", (b"proc", b"/p", b"proc", mount.MS_NOSUID, b"a=b", 0), "proc, /p, proc, MS_NOSUID, a=b"),
        ("mount", (None, b"/", None, mount.MS_REC | mount.MS_SLAVE, None, 0), "/, MS_REC | MS_SLAVE"),
        ("umount2", (b".", mount.MNT_DETACH), "., MNT_DETACH"),
        ("pivot_root", (b".", b".", 0, 0), "., ."),
        ("prctl", (syscalls.PR_CAPBSET_DROP, 21), "PR_CAPBSET_DROP, CAP_SYS_ADMIN"),
        ("prctl", (syscalls.PR_SET_NO_NEW_PRIVS, 1), "PR_SET_NO_NEW_PRIVS, 1"),
        ("prctl", (syscalls.PR_SET_DUMPABLE, 0), "PR_SET_DUMPABLE, 0"),
        ("prctl", (syscalls.PR_CAP_AMBIENT, 4), "PR_CAP_AMBIENT, 4"),
        ("sethostname", (b"name", 4, 0, 0), "name, 4"),
        ("fsmount", (3, 1, mount.MOUNT_ATTR_RDONLY), "MOUNT_ATTR_RDONLY"),
    ],
)
def test_arguments_in_words(call: str, arguments: tuple[object, ...], text: str) -> None:
    assert describe(call, arguments) == text


def test_the_stages_have_all_steps_of_a_start_once() -> None:
    init = WatchedInit.__new__(WatchedInit)
    usual = [step.__name__ for step in [*init.first_steps(), init.await_request, *init.steps()]]
    staged = [name for _stage, names in STAGES for name in names]
    assert sorted(staged) == sorted([*usual, "detach", "load_filter"])
    first = [name for name in usual if name != "await_request"]
    assert [name for name in staged if name in first] == first


def test_a_page_keeps_what_was_written_last() -> None:
    page = Page()
    assert page.read() == []
    page.write([["init", "a", 1, 2, []]])
    page.write([["init", "b", 1, 2, [["x", "y", 3, ""]]]])
    assert page.read() == [["init", "b", 1, 2, [["x", "y", 3, ""]]]]
    page.write(["x" * (2 << 20)])
    assert page.read()[0][1] == "b"
