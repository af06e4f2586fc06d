"""Starts a program and ends it when another process ends: ``python -I -S helper_watch.py PID PROGRAM ARGUMENT ...``.

A process of its own with nothing imported that takes time or memory. The program ends with it in any case
(PR_SET_PDEATHSIG), and its exit status is passed on.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(pid: int, command: list[str]) -> int:
    """Watch until one of the two has ended; the program's exit status, 128 + n if signal n ended it."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    libc = ctypes.CDLL(None)
    child = os.fork()  # noqa: TID251 - a small process of its own with one thread
    if child == 0:
        try:
            # Python ignores SIGPIPE, the program inherits that, and pasta takes it for an error.
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGQUIT):
                signal.signal(number, signal.SIG_DFL)
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            os.execv(command[0], command)  # noqa: S606 - a list made by rootless.py, no shell wanted
        except OSError as error:
            os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        finally:
            os._exit(127)
    helper = os.pidfd_open(child)
    poll = select.poll()
    poll.register(watched, select.POLLIN)
    poll.register(helper, select.POLLIN)
    ready = dict(poll.poll())
    if helper not in ready:
        os.kill(child, signal.SIGTERM)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) % 256


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
