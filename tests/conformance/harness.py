"""An OCI runtime command as the tests see it: bundles for it, its operations, and which runtimes there are.

The operations are those of the runtime specification (runtime.md), spelled as runc spells them on the command line.
"""

from __future__ import annotations

import contextlib
import copy
import glob
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from tests.support import rootfs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from jupyter_containers.oci.runtime_spec import Spec

OURS = "jupyter-container-runtime"
PATIENCE = 60.0
PREFIX = "jc-conformance-"

_MAIN = "from jupyter_containers.oci_runtime.main import main; sys.exit(main())"

_numbers = itertools.count(1)

# crun refuses a host with both cgroup versions: it is shown one without the second.
_WITHOUT_UNIFIED = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$0" "$@"'


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it wrote."""

    status: int
    stdout: str
    stderr: str

    def lines(self) -> list[str]:
        """The lines of the output, which a test expects from a container that ran well."""
        assert self.status == 0, self.stderr or self.stdout
        return self.stdout.splitlines()


@dataclass
class Bundle:
    """A directory with a root file system of busybox and a configuration to be changed before it is used."""

    path: Path
    spec: Spec = field(default_factory=lambda: cast("Spec", {}))

    @property
    def root(self) -> Path:
        """The root file system."""
        return self.path / "rootfs"

    @property
    def process(self) -> Any:
        """``process`` of the configuration."""
        return self.spec["process"]

    @property
    def linux(self) -> Any:
        """``linux`` of the configuration."""
        return self.spec["linux"]

    def script(self, text: str) -> None:
        """Have the container run a shell script."""
        self.process["args"] = ["sh", "-c", text]

    def mount(self, destination: str, *options: str, source: str = "", kind: str = "", **more: object) -> None:
        """Add a mount."""
        mount: dict[str, object] = {"destination": destination, "options": list(options), **more}
        if source:
            mount["source"] = source
        if kind:
            mount["type"] = kind
        self.spec["mounts"].append(mount)  # type: ignore[arg-type]  # tests also add what no mount looks like

    def namespace(self, kind: str, path: str | None = None) -> None:
        """Have a namespace made, or joined by a path; in place of what was asked for that type."""
        self.without_namespace(kind)
        self.linux["namespaces"].append({"type": kind} if path is None else {"type": kind, "path": path})

    def without_namespace(self, kind: str) -> None:
        """Have the container share its starter's namespace of a type."""
        self.linux["namespaces"] = [each for each in self.linux["namespaces"] if each["type"] != kind]

    def write(self) -> None:
        """Write config.json."""
        (self.path / "config.json").write_text(json.dumps(self.spec), encoding="utf-8")


def make_bundle(directory: Path) -> Bundle:
    """A bundle whose container has namespaces of all common types, Docker's mounts, masks and capabilities."""
    rootfs.make(directory / "rootfs")
    spec = copy.deepcopy(rootfs.spec("rootfs", "true"))
    spec["ociVersion"] = "1.0.2"  # what the peers know; all of major version 1 are compatible
    spec["process"]["user"] = {"uid": 0, "gid": 0}
    if os.geteuid() != 0:  # what a runtime needs of an ordinary user: a user namespace, here with one id
        spec["linux"]["namespaces"].append({"type": "user"})
        spec["linux"]["uidMappings"] = [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
        spec["linux"]["gidMappings"] = [{"containerID": 0, "hostID": os.getegid(), "size": 1}]
    return Bundle(directory, spec)


@dataclass
class Runtime:
    """A runtime command.

    Parameters
    ----------
    command
        The program and what has to stand before its name.
    options
        Global options, ahead of every operation.
    name
        ``jupyter-container-runtime``, ``runc`` or ``crun``.
    """

    command: Sequence[str]
    options: Sequence[str] = ()
    name: str = OURS
    made: list[str] = field(default_factory=list)

    @property
    def ours(self) -> bool:
        """Whether it is the runtime of this project."""
        return self.name == OURS

    def call(self, *arguments: str, stdin: str = "", **more: Any) -> Ran:
        """Run the command with any arguments and wait for its end."""
        done = subprocess.run(
            [*self.command, *self.options, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            check=False,
            **more,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def new_id(self) -> str:
        """A container's name nobody has; the container is removed when the test is over."""
        name = f"{PREFIX}{os.getpid()}-{next(_numbers)}"
        self.made.append(name)
        return name

    def run(self, bundle: Bundle, *options: str, container: str = "", stdin: str = "") -> Ran:
        """Create and start a container, wait for its end, and remove it."""
        bundle.write()
        return self.call("run", "--bundle", str(bundle.path), *options, container or self.new_id(), stdin=stdin)

    def create(self, bundle: Bundle, *options: str, container: str = "", output: Path | None = None) -> str:
        """Create a container, which must work; its name. Its output goes to the file ``output``."""
        name = container or self.new_id()
        ran = self.try_create(bundle, *options, container=name, output=output)
        assert ran.status == 0, ran.stderr
        return name

    def try_create(self, bundle: Bundle, *options: str, container: str = "", output: Path | None = None) -> Ran:
        """Create a container, or fail to. What the command itself says is in ``stderr``."""
        bundle.write()
        name = container or self.new_id()
        # The container keeps the command's output open for as long as it lives: files, as a pipe would not end.
        sink = output or bundle.path / f"output-{name}"
        with sink.open("wb") as file:
            done = subprocess.run(
                [*self.command, *self.options, "create", "--bundle", str(bundle.path), *options, name],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                timeout=PATIENCE,
                check=False,
            )
        return Ran(done.returncode, "", sink.read_text(encoding="utf-8", errors="replace"))

    def start(self, container: str) -> Ran:
        """Start a created container."""
        return self.call("start", container)

    def state(self, container: str) -> dict[str, Any]:
        """The state of a container, which must exist."""
        ran = self.call("state", container)
        assert ran.status == 0, ran.stderr
        return cast("dict[str, Any]", json.loads(ran.stdout))

    def status(self, container: str) -> str:
        """``created``, ``running``, ``stopped``; empty when the runtime does not know the container."""
        ran = self.call("state", container)
        return str(json.loads(ran.stdout)["status"]) if ran.status == 0 else ""

    def kill(self, container: str, signal: str = "KILL") -> Ran:
        """Send a signal."""
        return self.call("kill", container, signal)

    def delete(self, container: str, *, force: bool = False) -> Ran:
        """Remove a container."""
        return self.call("delete", *(["--force"] if force else []), container)

    def wait(self, container: str, status: str = "stopped") -> None:
        """Wait until a container has a status."""
        deadline = time.monotonic() + PATIENCE
        while (now := self.status(container)) != status:
            assert time.monotonic() < deadline, f"{container} is {now or 'gone'}, not {status}"
            time.sleep(0.02)

    def clean(self) -> None:
        """Remove what tests have left of their containers, and what is left of cgroups on the way to theirs."""
        for name in self.made:
            self.delete(name, force=True)
        self.made.clear()
        for top in glob.glob(f"/sys/fs/cgroup/*/{PREFIX}{os.getpid()}-*"):
            for directory, _names, _files in os.walk(top, topdown=False):
                os.rmdir(directory)
        for top in glob.glob(f"/sys/fs/cgroup/*/{PREFIX.removesuffix('-')}"):
            with contextlib.suppress(OSError):  # another run has something there
                os.rmdir(top)


def ours() -> list[str]:
    """This project's runtime command, also where only its package is installed."""
    script = shutil.which(OURS, path=os.path.dirname(sys.executable))
    return [script] if script else [sys.executable, "-c", f"import sys; sys.argv[0] = {OURS!r}; {_MAIN}"]


def why_not(name: str) -> str:
    """Why a runtime cannot be tested here; empty if it can."""
    if not rootfs.available():
        return "needs a static busybox"
    if name == OURS:
        return ""
    if os.geteuid() != 0:
        return f"{name} is compared as root only"
    return "" if _find(name) else f"{name} is not installed"


def _find(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def open_runtime(name: str, state: Path) -> Iterator[Runtime]:
    """A runtime with its state in a directory of its own; its containers are removed afterwards."""
    command = ours() if name == OURS else [_find(name) or name]
    if name == "crun":
        command = ["unshare", "--mount", "sh", "-c", _WITHOUT_UNIFIED, *command]
    runtime = Runtime(command, ["--root", str(state)], name)
    try:
        yield runtime
    finally:
        runtime.clean()
