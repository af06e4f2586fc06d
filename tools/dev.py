"""The verbs of ``./dev``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from tools import check, course, criu, environment, packages, suites
from tools.stages import Failed, complain, note

if TYPE_CHECKING:
    from collections.abc import Sequence

HELP = """\
usage: ./dev VERB

  setup          make the environment and install what the tests use
  demo           run the first notebook in a real kernel and show what it prints
  lab            open it in JupyterLab
  test           all suites, as root (where this is root) and as ordinary users; a summary of what could not run
  test ARGUMENT  the same as pytest ARGUMENT: paths, -k EXPRESSION, -x ...
  check          style, types, import contracts (under a minute)
  bench          side by side with the other engines of this machine (./dev bench --help)
  bench scale    10,000 containers and 2,000 images in one store
  reference      write docs/guide/reference.md from the table of commands
  soak           eight processes on one store for ten minutes: nothing lost, nothing left (./dev soak --help)

Every verb first sets up what it needs; nothing is done when that is in place.
"""


def main(arguments: Sequence[str]) -> int:
    """Run one verb; its exit status."""
    verb, *rest = arguments or ["help"]
    if verb in {"help", "-h", "--help"}:
        note(HELP.rstrip())
        return 0
    if verb not in _VERBS:
        complain(f"dev: no verb {verb!r}\n\n{HELP.rstrip()}")
        return 2
    os.environ.setdefault("PYTHONUTF8", "1")
    try:
        return _VERBS[verb](rest)
    except Failed as error:
        complain(f"dev: {error}")
        return 1
    except KeyboardInterrupt:
        complain("stopped")
        return 130


def _setup(_rest: Sequence[str]) -> int:
    ready = environment.ensure()
    for line in [*packages.provide(packages.FOR_TESTS), *criu.provide(ready)]:
        note(f"left out: {line}")
    note(f"ready: {environment.shown(ready.directory)}")
    return 0


def _demo(_rest: Sequence[str]) -> int:
    ready = environment.ensure()
    for line in packages.provide(packages.FOR_DEMO):
        note(f"left out: {line}")
    return course.demo(ready)


def _lab(rest: Sequence[str]) -> int:
    ready = environment.ensure()
    for line in packages.provide(packages.FOR_DEMO):
        note(f"left out: {line}")
    return course.lab(ready, rest)


def _test(rest: Sequence[str]) -> int:
    ready = environment.ensure()
    if rest:
        return suites.pytest(ready, rest)
    return suites.everything(ready, left_out=[*packages.provide(packages.FOR_TESTS), *criu.provide(ready)])


def _check(_rest: Sequence[str]) -> int:
    return check.check(environment.ensure())


def _bench(rest: Sequence[str]) -> int:
    ready = environment.ensure()
    packages.provide([packages.BUSYBOX])
    os.chdir(environment.ROOT)
    os.execve(ready.python, [ready.python, "-m", "bench", *rest], ready.variables())


def _reference(rest: Sequence[str]) -> int:
    ready = environment.ensure()
    os.chdir(environment.ROOT)
    os.execve(ready.python, [ready.python, "-m", "tools.reference", *rest], ready.variables())


def _soak(rest: Sequence[str]) -> int:
    ready = environment.ensure()
    os.chdir(environment.ROOT)
    os.execve(ready.python, [ready.python, "-m", "tools.soak", *rest], ready.variables())


_VERBS = {
    "setup": _setup,
    "demo": _demo,
    "lab": _lab,
    "test": _test,
    "check": _check,
    "bench": _bench,
    "reference": _reference,
    "soak": _soak,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
