"""One of the processes of ``./dev soak``: does things with containers at random, and knows what must come of them.

It has containers and a volume of its own, whose state it predicts and looks at after each step. It works on some that
all processes have in common, too: there an error must be one that says what another process did.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from jupyter_containers.engine import Engine, RunResult
from jupyter_containers.engine.options import RunOptions
from jupyter_containers.errors import AlreadyExists, Conflict, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGE = "starter"
OWN, SHARED = 3, 5
REOPEN = 25
"""Steps after which an engine is closed and another one opened, as commands do."""
# What one process may be told because of what another one does.
EXPECTED = (AlreadyExists, Conflict, NotFound)


class Wrong(Exception):  # noqa: N818 - what the soak looks for
    """Something is not as it was left."""


class Worker:
    """See the module. ``claims`` is a directory that all processes share: a file there is held by one of them."""

    def __init__(self, number: int, seed: int, claims: Path, *, network: bool) -> None:
        self.number = number
        self.chance = random.Random(seed)
        self.claims = claims
        self.network = network
        self.engine = Engine()
        self.states: dict[str, str] = {}
        self.claimed: dict[str, list[Path]] = {}
        self.volume = f"kept-{number}"
        self.written = 0
        self.steps: dict[str, int] = {}
        self.problems: list[str] = []

    # -- the run -----------------------------------------------------------------------------------------------------

    def work(self, seconds: float) -> None:
        """Steps until the time is over. A step that goes wrong is kept, and its container started over."""
        self._begin()
        deadline = time.monotonic() + seconds
        known = 0
        while time.monotonic() < deadline:
            known = self._reopen(known)
            for _ in range(REOPEN):
                if time.monotonic() >= deadline:
                    break
                self._step()
        self.engine.close()

    def _begin(self) -> None:
        """Take away what a predecessor that was killed has left."""
        for row in self.engine.containers.list(all=True):
            if row.name.startswith(f"own-{self.number}-"):
                self.engine.containers.remove(row.id, force=True)
        for claim in self.claims.iterdir():
            with suppress(FileNotFoundError):
                if claim.read_text(encoding="ascii") == str(self.number):
                    claim.unlink()
        self.written = self._lines(self.engine.volumes.create(self.volume).mountpoint)

    def _reopen(self, known: int) -> int:
        self.engine.close()
        count = len(os.listdir("/proc/self/fd"))
        if known and count > known:
            self.problems.append(f"{count - known} descriptors more than when the last engine was closed")
        self.engine = Engine()
        return count

    def _step(self) -> None:
        actions = self._actions()
        name = self.chance.choices(list(actions), [weight for weight, _ in actions.values()])[0]
        self.steps[name] = self.steps.get(name, 0) + 1
        try:
            actions[name][1]()
        except Exception:  # noqa: BLE001 - each is kept for the report
            self.problems.append(f"{name}:\n{traceback.format_exc()}")

    def _actions(self) -> dict[str, tuple[int, Callable[[], None]]]:
        return {
            "own": (10, self._own),
            "shared": (6, self._shared),
            "throw away": (4, self._throw_away),
            "list": (2, self._list),
            "volume": (1, self._shared_volume),
            **({"network": (1, self._shared_network)} if self.network else {}),
        }

    # -- what nobody else touches --------------------------------------------------------------------------------------

    def _own(self) -> None:
        name = f"own-{self.number}-{self.chance.randrange(OWN)}"
        state = self.states.get(name, "none")
        choices = {
            "none": (self._make, self._make_running),
            "exited": (self._start, self._remove),
            "created": (self._start, self._remove),
            "running": (self._stop, self._restart, self._kill, self._write, self._write, self._remove, self._rename),
            "lost": (self._remove,),
        }[state]
        action = self.chance.choice(choices)
        try:
            action(name)
        except Exception:
            self.states[name] = "lost"
            raise
        self._look(name)

    def _look(self, name: str) -> None:
        state = self.states.get(name, "none")
        try:
            found = str(self.engine.containers.inspect(name)["State"]["Status"])
        except NotFound:
            found = "none"
        if found != state:
            raise Wrong(f"{name} is {found}, not {state}")

    def _options(self, name: str, *, detach: bool) -> RunOptions:
        return RunOptions(
            name=name,
            volume=(f"{self.volume}:/data",),
            stop_timeout=0,
            publish=("80",) if self.network and name.endswith("0") else (),
            detach=detach,
        )

    def _make(self, name: str) -> None:
        self.engine.containers.create(IMAGE, ["sleep", "10000"], options=self._options(name, detach=False))
        self.states[name] = "created"

    def _make_running(self, name: str) -> None:
        self.engine.containers.run(IMAGE, ["sleep", "10000"], options=self._options(name, detach=True))
        self._runs(name)

    def _start(self, name: str) -> None:
        self.engine.containers.start(name)
        self._runs(name)

    def _restart(self, name: str) -> None:
        self._release(name)
        self.engine.containers.restart(name, time=0)
        self._runs(name)

    def _runs(self, name: str) -> None:
        """Enter that it runs; its address and ports are nobody else's, and what it wrote before is there."""
        self.states[name] = "running"
        document = self.engine.containers.inspect(name)
        settings = document["NetworkSettings"]
        held = [each["IPAddress"] for each in settings["Networks"].values() if each["IPAddress"]]
        held += [f"port-{each['HostPort']}" for found in settings["Ports"].values() for each in found or ()]
        self.claimed[name] = [self.claims / each for each in held]
        for claim in self.claimed[name]:
            try:
                with claim.open("x", encoding="ascii") as file:
                    file.write(str(self.number))
            except FileExistsError:
                raise Wrong(f"{name} was given {claim.name}, which another container holds") from None
        if self.engine.containers.get(name).id != document["Id"]:
            raise Wrong(f"{name} is another container now")

    def _release(self, name: str) -> None:
        for claim in self.claimed.pop(name, []):
            claim.unlink(missing_ok=True)

    def _stop(self, name: str) -> None:
        self._release(name)
        self.engine.containers.stop(name, time=0)
        self.states[name] = "exited"

    def _kill(self, name: str) -> None:
        self._release(name)
        self.engine.containers.kill(name)
        self.states[name] = "exited"

    def _remove(self, name: str) -> None:
        self._release(name)
        self.engine.containers.remove(name, force=True)
        self.states.pop(name, None)

    def _rename(self, name: str) -> None:
        """There and back: meanwhile it has no other name."""
        self.engine.containers.rename(name, f"{name}-renamed")
        self._look(f"{name}-none")
        self.engine.containers.rename(f"{name}-renamed", name)

    def _write(self, name: str) -> None:
        """A line to the volume, and the container's own file."""
        script = (
            "echo line >>/data/lines; test ! -e /mark || read -r before </mark; echo $HOSTNAME >/mark; echo $before"
        )
        done = self.engine.containers.exec(name, ["sh", "-c", script])
        assert isinstance(done, RunResult)
        self.written += 1
        identity = self.engine.containers.get(name).id
        if done.exit_code != 0 or done.stdout.strip() not in {"", identity[:12]}:
            raise Wrong(f"exec in {name} ended with {done.exit_code}: {done.stdout!r} {done.stderr!r}")

    @staticmethod
    def _lines(mountpoint: str) -> int:
        try:
            return len((Path(mountpoint) / "lines").read_text(encoding="ascii").splitlines())
        except FileNotFoundError:
            return 0

    # -- what all have in common ---------------------------------------------------------------------------------------

    def _shared(self) -> None:
        name = f"shared-{self.chance.randrange(SHARED)}"
        containers = self.engine.containers
        actions: tuple[Callable[[], object], ...] = (
            lambda: containers.run(IMAGE, ["sleep", "10000"], detach=True, name=name),
            lambda: containers.run(IMAGE, ["sleep", "10000"], detach=True, name=name, restart="always"),
            lambda: containers.create(IMAGE, ["sleep", "10000"], name=name),
            lambda: containers.start(name),
            lambda: containers.stop(name, time=0),
            lambda: containers.restart(name, time=0),
            lambda: containers.kill(name),
            lambda: containers.exec(name, ["true"]),
            lambda: containers.inspect(name),
            lambda: containers.remove(name, force=True),
            lambda: containers.rename(name, f"shared-{SHARED + self.chance.randrange(2)}"),
            lambda: containers.remove(f"shared-{SHARED + self.chance.randrange(2)}", force=True),
            lambda: containers.pause(name),
            lambda: containers.unpause(name),
        )
        with suppress(*EXPECTED):
            self.chance.choice(actions)()

    def _throw_away(self) -> None:
        token = f"{self.chance.getrandbits(64):x}"
        network = self.chance.choice([None, "none"])
        done = self.engine.containers.run(IMAGE, ["echo", token], remove=True, network=network)
        assert isinstance(done, RunResult)
        if (done.exit_code, done.stdout) != (0, f"{token}\n"):
            raise Wrong(f"a run printed {done.stdout!r}, {done.stderr!r} and ended with {done.exit_code}")

    def _list(self) -> None:
        found = {row.name: row.state for row in self.engine.containers.list(all=True)}
        for name, state in self.states.items():
            if state != "lost" and found.get(name) != state:
                raise Wrong(f"{name} is {found.get(name)} in the list, not {state}")

    def _shared_volume(self) -> None:
        name = f"shared-{self.chance.randrange(SHARED)}"
        volumes, run = self.engine.volumes, self.engine.containers.run
        actions: tuple[Callable[[], object], ...] = (
            lambda: volumes.create(name),
            lambda: volumes.remove(name),
            lambda: run(IMAGE, ["sh", "-c", "date >/v/now"], remove=True, volume=f"{name}:/v", network="none"),
            lambda: volumes.clone(name, f"shared-{self.chance.randrange(SHARED)}"),
        )
        with suppress(*EXPECTED):
            self.chance.choice(actions)()

    def _shared_network(self) -> None:
        name = f"shared-{self.chance.randrange(2)}"
        networks, run = self.engine.networks, self.engine.containers.run
        other = f"shared-{self.chance.randrange(SHARED)}"
        actions: tuple[Callable[[], object], ...] = (
            lambda: networks.create(name),
            lambda: networks.remove(name),
            lambda: networks.connect(name, other),
            lambda: networks.disconnect(name, other),
            lambda: run(IMAGE, ["true"], remove=True, network=name),
        )
        with suppress(*EXPECTED):
            self.chance.choice(actions)()


def main(arguments: list[str]) -> int:
    """``NUMBER SEED SECONDS CLAIMS network|alone``: prints what it did as JSON."""
    number, seed, seconds, claims, network = arguments
    worker = Worker(int(number), int(seed), Path(claims), network=network == "network")
    worker.work(float(seconds))
    report = {
        "steps": worker.steps,
        "problems": worker.problems,
        "states": worker.states,
        "volume": worker.volume,
        "written": worker.written,
    }
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
