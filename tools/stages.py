"""One line a stage on the terminal; what a tool printed only when it failed."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


class Failed(Exception):  # noqa: N818 - an outcome, told in one sentence, not a defect
    """A stage did not succeed; the text says what to do."""


@contextmanager
def stage(title: str) -> Iterator[None]:
    """Print the title, and when it is over how long it took."""
    print(f"{title} ... ", end="", flush=True)
    begin = time.monotonic()
    try:
        yield
    except BaseException:
        print(f"failed after {time.monotonic() - begin:.1f} s", flush=True)
        raise
    print(f"ok, {time.monotonic() - begin:.1f} s", flush=True)


def note(text: str) -> None:
    """A line that is no stage: what is left out, and why."""
    print(text, flush=True)


def run_quietly(
    command: Sequence[str],
    *,
    what: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
) -> str:
    """Run a tool; its output.

    Raises
    ------
    Failed
        with the end of the output, when it does not end with 0 in time.
    """
    try:
        done = subprocess.run(
            command,
            env=env,
            cwd=cwd,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{what}: no end after {timeout:.0f} s: {' '.join(command)}") from error
    except OSError as error:
        raise Failed(f"{what}: {error}") from error
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-40:])
        raise Failed(f"{what} failed (exit status {done.returncode}): {' '.join(command)}\n{tail}")
    return done.stdout


def complain(text: str) -> None:
    """The last word of a run that failed."""
    print(text, file=sys.stderr, flush=True)
