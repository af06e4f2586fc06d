"""The init of ``--init``: pid 1 that reaps what the program's children leave behind, and passes signals on to it.

It is the start itself, which has become the container's user and given up what the program must not have: it forks the
program and stays. The container cannot look into it, as it is not dumpable, and it has no descriptor open.

Source: wait(2), pid_namespaces(7), "The namespace init process".
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half of signal, which costs no enum
import ctypes
import os

from jupyter_containers.linux import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_SIGKILL, _SIGCHLD = 9, 17
_NOT_PASSED_ON = {21, 22}  # SIGTTIN, SIGTTOU: of the terminal to a background process, which is not the program
_SIGNALLED = 128
_NAME = b"init"
_ARG_START = 45  # field 48 of /proc/<pid>/stat; the next one is the end (proc_pid_stat(5))


def stand_by() -> None:
    """Fork; returns in the child, which becomes the program. The parent ends as the program does."""
    every = _signal.valid_signals()
    _signal.pthread_sigmask(_signal.SIG_BLOCK, every)
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)  # where the pid namespace is another's
    syscalls.prctl(syscalls.PR_SET_NAME, _NAME)  # before there is a program to see how it was called
    _forget_command_line()
    pid, _pidfd = syscalls.clone(0)
    if pid == 0:
        _lead()
        _signal.pthread_sigmask(_signal.SIG_SETMASK, [])
        return
    syscalls.close_range(0)
    _attend(pid, every)


def _forget_command_line() -> None:
    """Show ``init`` to whoever lists processes, not how the starter was started: paths of the host are in that."""
    try:
        with open("/proc/self/stat", "rb", buffering=0) as file:
            fields = file.read(4096).rpartition(b")")[2].split()
    except FileNotFoundError:
        return  # without procfs nobody can see it
    begin, end = int(fields[_ARG_START]), int(fields[_ARG_START + 1])
    if end - begin > len(_NAME):
        ctypes.memset(begin, 0, end - begin)
        ctypes.memmove(begin, _NAME, len(_NAME))


def _lead() -> None:
    """Be a process group of its own, in the foreground where there is a terminal, and end with the parent."""
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, _SIGKILL)
    os.setpgid(0, 0)
    if os.isatty(0):
        os.tcsetpgrp(0, os.getpid())


def _attend(program: int, signals: set[int]) -> NoReturn:
    while True:
        number = _signal.sigwait(signals)
        if number == _SIGCHLD:
            _reap(program)
        elif number not in _NOT_PASSED_ON:
            try:
                os.kill(program, number)
            except ProcessLookupError:
                continue  # it has ended, which is the next signal


def _reap(program: int) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid == program:
            signalled = os.WIFSIGNALED(status)
            os._exit(_SIGNALLED + os.WTERMSIG(status) if signalled else os.WEXITSTATUS(status))
