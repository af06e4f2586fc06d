"""An engine in memory, for tests of the front ends: it keeps what it was asked and answers with set values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO

from jupyter_containers.engine import (
    Container,
    ContainerSummary,
    EngineInfo,
    Exec,
    HistoryEntry,
    Image,
    ImageSummary,
    LayerSummary,
    LogEntry,
    ProcessTable,
    ResourceUsage,
    RunOptions,
    RunResult,
)
from jupyter_containers.engine.views import NetworkSummary, PruneReport, VolumeSummary
from jupyter_containers.errors import ContainerNotFound, EngineError, ImageNotFound, NetworkNotFound, VolumeNotFound
from jupyter_containers.events import Event, EventSink, Output, ignore
from jupyter_containers.network.ports import Port
from jupyter_containers.oci.names import Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MOMENT = datetime(2026, 11, 20, 12, 30, 15, tzinfo=UTC)
IMAGE_ID = Digest.of(b"image")
LAYER = Digest.of(b"layer")
CONTAINER_ID = "c0ffee" + "0" * 58


def summary(name: str, **changes: Any) -> ContainerSummary:
    """A row of ``ps``: running, unless ``changes`` say otherwise."""
    values: dict[str, Any] = {
        "id": CONTAINER_ID,
        "name": name,
        "image": "alpine:latest",
        "command": "sleep 1000",
        "created": MOMENT,
        "state": "running",
        "status": "Up 2 minutes",
        "exit_code": None,
        "started": MOMENT,
        "finished": None,
        "pid": 42,
    }
    return ContainerSummary(**(values | changes))


def result(exit_code: int = 0, stdout: bytes = b"", stderr: bytes = b"", **changes: Any) -> RunResult:
    """How a container ended."""
    return RunResult(
        exit_code=exit_code,
        stdout_bytes=stdout,
        stderr_bytes=stderr,
        usage=ResourceUsage(0.31, 0.02, 2_100_000),
        container_id=CONTAINER_ID,
        command=("echo", "hi"),
        image="alpine:latest",
        **changes,
    )


@dataclass
class FakeImages:
    """The images half."""

    asked: list[tuple[str, Any]]
    events: list[Event] = field(default_factory=list)
    rows: list[ImageSummary] = field(
        default_factory=lambda: [
            ImageSummary("alpine", "latest", IMAGE_ID, LAYER, MOMENT, 7_834_000, {"tier": "base"}),
            ImageSummary(None, None, Digest.of(b"other"), LAYER, None, 12),
        ]
    )

    image: Image = field(
        default_factory=lambda: Image(
            IMAGE_ID, LAYER, ("alpine:latest",), MOMENT, 7_834_000, {"tier": "base"}, ("/bin/sh",), "linux/amd64"
        )
    )

    def pull(self, name: str, *, platform: str | None = None, sink: EventSink = ignore) -> Image:
        self.asked.append(("pull", {"name": name, "platform": platform}))
        self._tell(sink)
        return self.image

    def build(self, path: str | None = None, *, sink: EventSink = ignore, **options: Any) -> Image:
        self.asked.append(("build", {"path": path, **options}))
        self._tell(sink)
        return self.image

    def _tell(self, sink: EventSink) -> None:
        for event in self.events:
            sink(event)

    def list(self, *, all: bool = False) -> Sequence[ImageSummary]:  # noqa: A002
        return [row for row in self.rows if all or row.repository]

    def get(self, name: str) -> Image:
        self._find(name)
        return self.image

    def history(self, name: str) -> Sequence[HistoryEntry]:
        self._find(name)
        return [
            HistoryEntry(IMAGE_ID, MOMENT, 'CMD ["/bin/sh"]', 0, empty_layer=True),
            HistoryEntry(None, MOMENT, "ADD rootfs.tar / # a long text that does not fit in", 7_834_000),
        ]

    def layers(self, name: str) -> Sequence[LayerSummary]:
        self._find(name)
        return [LayerSummary(0, LAYER, LAYER, LAYER, 7_834_000, 3_600_000, "application/x-tar", "ADD rootfs.tar /", 2)]

    def inspect(self, name: str) -> dict[str, Any]:
        self._find(name)
        return {"Id": str(IMAGE_ID), "RepoTags": ["alpine:latest"]}

    def remove(self, name: str, *, force: bool = False) -> Sequence[str]:
        self._find(name)
        return [f"Untagged: {name}", f"Deleted: {IMAGE_ID}"] + (["forced"] if force else [])

    def tag(self, source: str, target: str) -> Image:
        self._find(source)
        self.asked.append(("tag", (source, target)))
        return self.image

    @staticmethod
    def _find(name: str) -> None:
        if not name.startswith("alpine"):
            raise ImageNotFound(f"no such image: {name}", hint="'images' lists what there is")


@dataclass
class FakeContainers:
    """The containers half."""

    asked: list[tuple[str, Any]]
    rows: list[ContainerSummary] = field(
        default_factory=lambda: [
            summary("web", labels={"role": "front"}),
            summary(
                "old",
                id="abad1dea" + "0" * 56,
                state="exited",
                status="Exited (3) 1 hour ago",
                exit_code=3,
                pid=None,
                finished=MOMENT,
                memory_limit=64 << 20,
            ),
        ]
    )
    output: list[Output] = field(default_factory=lambda: [Output("stdout", b"hi\n")])
    events: list[Event] = field(default_factory=list)
    ended: RunResult = field(default_factory=lambda: result(stdout=b"hi\n"))
    interrupt: bool = False
    failure: OSError | EngineError | None = None

    def run(
        self,
        image: str,
        command: Sequence[str] | None = None,
        *,
        options: RunOptions | None = None,
        stdin: bytes | BinaryIO | None = None,
        sink: EventSink = ignore,
        console: object = None,
        attendant: object = None,
    ) -> RunResult | Container:
        del console, attendant
        assert options is not None
        self.asked.append(("run", {"image": image, "command": command, "options": options, "stdin": stdin}))
        if image.startswith("missing"):
            raise ImageNotFound(f"no such image: {image}")
        if self.failure:
            raise self.failure
        for event in self.events:
            sink(event)
        if options.detach:
            return Container(CONTAINER_ID, options.name or "web", image)
        for output in self.output:
            sink(output)
        if self.interrupt:
            raise KeyboardInterrupt
        return self.ended

    def exec(
        self,
        name: str,
        command: Sequence[str],
        *,
        stdin: bytes | BinaryIO | None = None,
        sink: EventSink = ignore,
        console: object = None,
        **keywords: Any,
    ) -> RunResult | Exec:
        del console
        self._find(name)
        self.asked.append(("exec", {"command": command, "stdin": stdin, **keywords}))
        if self.failure:
            raise self.failure
        if keywords["detach"]:
            return Exec("e" * 64, CONTAINER_ID)
        for event in self.output:
            sink(event)
        return self.ended

    def list(self, *, all: bool = False, size: bool = False) -> Sequence[ContainerSummary]:  # noqa: A002
        del size
        return [row for row in self.rows if all or row.state == "running"]

    def logs(
        self,
        name: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> Iterator[LogEntry]:
        self._find(name)
        self.asked.append(("logs", {"follow": follow, "tail": tail, "since": since, "until": until}))
        stamp = f"{MOMENT:%Y-%m-%dT%H:%M:%S}.000000000Z"
        yield LogEntry("stdout", b"one\n", MOMENT, stamp, {"tier": "a b"})
        yield LogEntry("stderr", b"two\n", MOMENT, stamp)

    def inspect(self, name: str) -> dict[str, Any]:
        self._find(name)
        return {"Id": CONTAINER_ID, "Name": name}

    def stop(self, name: str, *, time: float | None = None, signal: str | None = None) -> None:
        self._find(name)
        self.asked.append(("stop", {"time": time, "signal": signal}))

    def kill(self, name: str, *, signal: str = "SIGKILL") -> None:
        self._find(name)
        self.asked.append(("kill", signal))

    def wait(self, name: str, *, condition: str = "not-running") -> int:
        self._find(name)
        self.asked.append(("wait", condition))
        return 3

    def create(
        self,
        image: str,
        command: Sequence[str] | None = None,
        *,
        options: RunOptions | None = None,
        sink: EventSink = ignore,
    ) -> Container:
        del sink
        self.asked.append(("create", {"image": image, "command": command, "options": options}))
        return Container(CONTAINER_ID, "web", image)

    def start(self, name: str) -> None:
        self._find(name)
        self.asked.append(("start", name))

    def restart(self, name: str, *, time: float | None = None, signal: str | None = None) -> None:
        self._find(name)
        self.asked.append(("restart", {"time": time, "signal": signal}))

    def pause(self, name: str) -> None:
        self._find(name)
        self.asked.append(("pause", name))

    def unpause(self, name: str) -> None:
        self._find(name)
        self.asked.append(("unpause", name))

    def rename(self, name: str, new_name: str) -> None:
        self._find(name)
        self.asked.append(("rename", (name, new_name)))

    def update(self, name: str, **changes: Any) -> None:
        self._find(name)
        self.asked.append(("update", changes))

    def ports(self, name: str) -> tuple[Port, ...]:
        self._find(name)
        return Port(80, "tcp", "127.0.0.1", 8080, 8080), Port(80, "tcp", "::1", 8080, 8080)

    def top(self, name: str, options: Sequence[str] = ()) -> ProcessTable:
        self._find(name)
        return ProcessTable(("PID", "CMD"), (("42", " ".join(["sleep", *options])),))

    def remove(self, name: str, *, force: bool = False, volumes: bool = False) -> None:
        self._find(name)
        self.asked.append(("rm", {"name": name, "force": force, "volumes": volumes}))

    def _find(self, name: str) -> None:
        if name not in {row.name for row in self.rows}:
            raise ContainerNotFound(f"no such container: {name}", hint="'ps -a' lists what there is")


class FakeNetworks:
    """The networks half."""

    def __init__(self, asked: list[tuple[str, Any]]) -> None:
        self.asked = asked

    def create(self, name: str, **keywords: Any) -> NetworkSummary:
        self.asked.append((f"network create {name}", keywords))
        return network("0" * 64, name)

    def list(self) -> Sequence[NetworkSummary]:
        return [network("1" * 64, "bridge"), network("2" * 64, "host", "host")]

    def inspect(self, name: str) -> dict[str, Any]:
        if name not in {row.name for row in self.list()}:
            raise NetworkNotFound(f"no such network: {name}")
        return {"Name": name}

    def remove(self, name: str) -> str:
        return name

    def prune(self, *, filters: Sequence[str] = ()) -> Sequence[str]:
        return [*filters, "old"]

    def connect(self, name: str, container: str, **keywords: Any) -> None:
        self.asked.append((f"network connect {name} {container}", keywords))

    def disconnect(self, name: str, container: str, **keywords: Any) -> None:
        self.asked.append((f"network disconnect {name} {container}", keywords))


def network(identity: str, name: str, driver: str = "bridge") -> NetworkSummary:
    """A row of ``network ls``."""
    return NetworkSummary(
        id=identity,
        name=name,
        driver=driver,
        scope="local",
        subnet="10.5.0.0/24",
        gateway="10.5.0.1",
        subnet6="",
        internal=False,
        containers=0,
        created=None,
    )


class FakeVolumes:
    """The volumes half."""

    def __init__(self, asked: list[tuple[str, Any]]) -> None:
        self.asked = asked

    def create(self, name: str | None = None, **keywords: Any) -> VolumeSummary:
        return self._made("create", name or "f" * 64, keywords)

    def clone(self, source: str, target: str, **keywords: Any) -> VolumeSummary:
        return self._made(f"clone {source}", target, keywords)

    def load(self, name: str, archive: str, **keywords: Any) -> VolumeSummary:
        return self._made(f"load {archive}", name, keywords)

    def _made(self, verb: str, name: str, keywords: dict[str, Any]) -> VolumeSummary:
        self.asked.append((f"volume {verb} {name}", keywords))
        return volume(name)

    def list(self, *, size: bool = False) -> Sequence[VolumeSummary]:
        return [
            volume("data", containers=("db",), labels={"tier": "db"}, size=12 if size else None),
            volume("f" * 64, anonymous=True, size=7_000 if size else None),
        ]

    def inspect(self, name: str) -> dict[str, Any]:
        if name not in {row.name for row in self.list()}:
            raise VolumeNotFound(f"no such volume: {name}")
        return {"Name": name}

    def remove(self, name: str, *, force: bool = False) -> None:
        if not force:
            self.inspect(name)

    def rename(self, name: str, new_name: str) -> None:
        self.asked.append((f"volume rename {name} {new_name}", {}))

    def prune(self, *, all: bool = False, keep: Callable[[VolumeSummary], bool]) -> PruneReport:  # noqa: A002
        gone = [row for row in self.list() if (all or row.anonymous) and not keep(row)]
        return PruneReport(tuple(row.name for row in gone), 12 * len(gone))

    def export(self, name: str, output: Any) -> None:
        if isinstance(output, str):
            self.asked.append((f"volume export {name} {output}", {}))
        else:
            output.write(b"archive")


def volume(name: str, **changes: Any) -> VolumeSummary:
    """A row of ``volume ls``."""
    values: dict[str, Any] = {"driver": "local", "created": MOMENT, "mountpoint": f"/store/volumes/{name}/data"}
    return VolumeSummary(name, **(values | changes))


@dataclass(frozen=True)
class FakeFinding:
    """A line of ``doctor``."""

    feature: str
    ok: bool
    detail: str
    remedy: str | None = None


@dataclass(frozen=True)
class FakeReport:
    """What ``doctor`` gives."""

    rung: str = "rootful"
    summary: str = "everything works"
    findings: tuple[FakeFinding, ...] = (
        FakeFinding("overlay", ok=True, detail="mounts"),
        FakeFinding("cgroup", ok=False, detail="no memory controller", remedy="mount -t cgroup <where>"),
    )


class FakeEngine:
    """Stands in for :class:`jupyter_containers.engine.Engine`."""

    def __init__(self, root: str | None = None, on_event: EventSink = ignore) -> None:
        self.root, self.on_event = root, on_event
        self.asked: list[tuple[str, Any]] = []
        self.images = FakeImages(self.asked)
        self.networks = FakeNetworks(self.asked)
        self.volumes = FakeVolumes(self.asked)
        self.containers = FakeContainers(self.asked)
        self.closed = False

    def doctor(self) -> FakeReport:
        return FakeReport()

    def info(self) -> EngineInfo:
        return EngineInfo(
            "0.1.0", "/store", "/run/store", False, "rootful", "6.1", "linux/amd64", "3.11", "v2", "overlay", 2, 2, 1
        )

    def close(self) -> None:
        self.closed = True

    def last(self, verb: str) -> Any:
        """What the verb was asked last."""
        return next(asked for name, asked in reversed(self.asked) if name == verb)
