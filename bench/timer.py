"""Time a command: ``timer.py REPEATS PAUSE AT_ONCE COMMAND...`` prints the seconds of each turn as a JSON list.

In a turn the command is run ``AT_ONCE`` times at the same time; ``{n}`` in it is a number of its own each time.

A program of its own, so that it can be run in namespaces of its own and every engine is started in the same way.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time


def main(arguments: list[str]) -> int:
    """Run once to warm up, then the repeats; 1 with the command's output as soon as a run fails."""
    repeats, pause, at_once, command = int(arguments[0]), float(arguments[1]), int(arguments[2]), arguments[3:]
    seconds = []
    for turn in range(repeats + 1):
        time.sleep(pause)
        begin = time.perf_counter()
        running = [
            subprocess.Popen(
                [word.replace("{n}", str(number)) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            for number in range(at_once)
        ]
        outputs = [process.communicate() for process in running]
        if turn:
            seconds.append(time.perf_counter() - begin)
        for process, (out, err) in zip(running, outputs, strict=True):
            if process.returncode != 0:
                sys.stderr.write((err or out).decode(errors="replace"))
                return 1
    print(json.dumps(seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
