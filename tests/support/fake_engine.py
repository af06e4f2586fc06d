"""An engine in memory, for tests of the front ends: it keeps what it was asked and answers with set values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO

from jupyter_containers.engine import (
    Container,
    ContainerSummary,
    EngineInfo,
    HistoryEntry,
    Image,
    ImageSummary,
    LayerSummary,
    LogEntry,
    ResourceUsage,
    RunOptions,
    RunResult,
)
from jupyter_containers.errors import ContainerNotFound, ImageNotFound
from jupyter_containers.events import Event, EventSink, Output, ignore
from jupyter_containers.oci.names import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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
    failure: OSError | None = None

    def run(
        self,
        image: str,
        command: Sequence[str] | None = None,
        *,
        options: RunOptions | None = None,
        stdin: bytes | BinaryIO | None = None,
        sink: EventSink = ignore,
    ) -> RunResult | Container:
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
        env: Mapping[str, str] | Sequence[str] = (),
        workdir: str | None = None,
        user: str | None = None,
        stdin: bytes | BinaryIO | None = None,
        sink: EventSink = ignore,
        detach: bool = False,
    ) -> RunResult | None:
        self._find(name)
        asked = {"command": command, "env": env, "workdir": workdir, "user": user, "stdin": stdin}
        self.asked.append(("exec", asked))
        if detach:
            return None
        for event in self.output:
            sink(event)
        return self.ended

    def list(self, *, all: bool = False) -> Sequence[ContainerSummary]:  # noqa: A002
        return [row for row in self.rows if all or row.state == "running"]

    def logs(self, name: str, *, follow: bool = False, tail: int | None = None) -> Iterator[LogEntry]:
        self._find(name)
        self.asked.append(("logs", {"follow": follow, "tail": tail}))
        yield LogEntry("stdout", b"one\n", MOMENT)
        yield LogEntry("stderr", b"two\n", MOMENT)

    def inspect(self, name: str) -> dict[str, Any]:
        self._find(name)
        return {"Id": CONTAINER_ID, "Name": name}

    def stop(self, name: str, *, time: float | None = None, signal: str | None = None) -> None:
        self._find(name)
        self.asked.append(("stop", {"time": time, "signal": signal}))

    def kill(self, name: str, *, signal: str = "SIGKILL") -> None:
        self._find(name)
        self.asked.append(("kill", signal))

    def wait(self, name: str) -> int:
        self._find(name)
        return 3

    def remove(self, name: str, *, force: bool = False, volumes: bool = False) -> None:
        self._find(name)
        self.asked.append(("rm", {"name": name, "force": force, "volumes": volumes}))

    def _find(self, name: str) -> None:
        if name not in {row.name for row in self.rows}:
            raise ContainerNotFound(f"no such container: {name}", hint="'ps -a' lists what there is")


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
