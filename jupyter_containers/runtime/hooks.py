"""Programs that are run at points of a container's life, with its state on their standard input.

Source: OCI runtime specification, config.md "POSIX-platform Hooks" and runtime.md "Lifecycle".
"""

from __future__ import annotations

import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Hook = dict[str, Any]

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")

_SIGKILL = 9
_MOST_OUTPUT = 2000  # characters of what a hook said that go into the error
_DEFAULT_SIGNALS = tuple(number for number in range(1, 32) if number not in {9, 19})


class HookError(Exception):
    """A hook failed; the text says which, how, and what it wrote."""


def run(kind: str, listed: list[Hook], state: bytes, container: int = -1) -> None:
    """Run hooks one after the other; the first that fails ends it.

    ``container`` is a pidfd of the container's process: a hook is not waited for once that has ended.

    Raises
    ------
    HookError
        A hook ended with another status than 0, could not be run, took longer than its timeout or than the container.
    """
    for number, hook in enumerate(listed):
        try:
            _run(hook, state, container)
        except HookError as error:
            raise HookError(f"error running {kind} hook #{number}: {error}") from None
        except OSError as error:
            raise HookError(f"error running {kind} hook #{number}: {hook['path']}: {error.strerror}") from None


def run_all(kind: str, listed: list[Hook], state: bytes) -> list[str]:
    """Run hooks whose failures change nothing, each of them; what went wrong, one line for each."""
    problems = []
    for number, hook in enumerate(listed):
        try:
            _run(hook, state)
        except HookError as error:
            problems.append(f"{kind} hook #{number}: {error}")
        except OSError as error:
            problems.append(f"{kind} hook #{number}: {hook['path']}: {error.strerror}")
    return problems


def _run(hook: Hook, state: bytes, container: int = -1) -> None:
    given, output = os.memfd_create("state", os.MFD_CLOEXEC), os.memfd_create("output", os.MFD_CLOEXEC)
    try:
        os.write(given, state)
        os.lseek(given, 0, os.SEEK_SET)
        path = hook["path"]
        pid = os.posix_spawn(
            path,
            hook.get("args") or [path],
            {key: value for key, _, value in (entry.partition("=") for entry in hook.get("env") or [])},
            file_actions=[(os.POSIX_SPAWN_DUP2, *pair) for pair in ((given, 0), (output, 1), (output, 2))],
            setpgroup=0,  # what it started itself can be ended with it
            setsigdef=_DEFAULT_SIGNALS,
            setsigmask=(),
        )
        try:
            status = _wait(pid, hook.get("timeout"), container)
        except BaseException:  # this process is to end
            _kill(pid)
            raise
        if status is None:
            why = "the container was killed meanwhile" if _ended(container) else f"timed out after {hook['timeout']} s"
            raise HookError(f"{path}: {why}")
        if status:
            how = f"exit status {status}" if status > 0 else f"killed by signal {-status}"
            said = os.pread(output, _MOST_OUTPUT, 0).decode("utf-8", "replace").strip()
            raise HookError(f"{path}: {how}{', output: ' + said if said else ''}")
    finally:
        os.close(given)
        os.close(output)


def _wait(pid: int, timeout: int | None, container: int) -> int | None:
    """The exit status, negative for a signal; None for a hook that was killed: its time, or its container, was over."""
    if timeout is not None or container >= 0:
        pidfd = os.pidfd_open(pid)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if container >= 0:
            poll.register(container, select.POLLIN)
        ended = {descriptor for descriptor, _event in poll.poll(None if timeout is None else timeout * 1000)}
        os.close(pidfd)
        if pidfd not in ended:
            _kill(pid)
            return None
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _kill(pid: int) -> None:
    try:
        os.killpg(pid, _SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        return  # it has ended already


def _ended(container: int) -> bool:
    if container < 0:
        return False
    poll = select.poll()
    poll.register(container, select.POLLIN)
    return bool(poll.poll(0))
