"""Time a command: ``python timer.py REPEATS PAUSE COMMAND...`` prints the seconds of each run as a JSON list.

A program of its own, so that it can be run in namespaces of its own and every engine is started in the same way.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time


def main(arguments: list[str]) -> int:
    """Run once to warm up, then the repeats; 1 with the command's output as soon as a run fails."""
    repeats, pause, command = int(arguments[0]), float(arguments[1]), arguments[2:]
    seconds = []
    for turn in range(repeats + 1):
        time.sleep(pause)
        begin = time.perf_counter()
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if turn:
            seconds.append(time.perf_counter() - begin)
        if done.returncode != 0:
            sys.stderr.write((done.stderr or done.stdout).decode(errors="replace"))
            return 1
    print(json.dumps(seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
