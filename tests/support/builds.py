"""Stand-ins for what the builder is given by the engine: fast, without privileges, counting what is asked of them."""

from __future__ import annotations

import tarfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jupyter_containers.build.builder import Builder
from jupyter_containers.build.cache import SqliteCache
from jupyter_containers.build.interfaces import Layer, ResolvedImage, RunOutcome, RunRequest
from jupyter_containers.build.options import BuildOptions, BuildResult
from jupyter_containers.content.store import ContentStore
from jupyter_containers.errors import ImageNotFound, NotFound
from jupyter_containers.images import mutate
from jupyter_containers.layers.base import Item, Node, Written
from jupyter_containers.layers.pack import write_items
from jupyter_containers.layers.view import LayerView
from jupyter_containers.oci.image_spec import OCI_LAYER, ContainerConfig, Descriptor, History
from jupyter_containers.oci.names import Digest, Platform, Reference, chain_id

if TYPE_CHECKING:
    from pathlib import Path

    from jupyter_containers.build.cancel import CancelToken
    from jupyter_containers.build.interfaces import OnOutput, PullPolicy
    from jupyter_containers.events import Event, EventSink
    from jupyter_containers.layers.base import Progress, Sink

PLATFORM = Platform("linux", "amd64")
BASE_TIME = 1_700_000_000
PASSWD = b"root:x:0:0:root:/root:/bin/sh\nann:x:1000:1001:Ann:/home/ann:/bin/sh\n"
GROUP = b"root:x:0:\nstaff:x:50:ann\n"


@dataclass
class Scratch:
    directory: Path


class PlainSnapshotter:
    """Extracts layers with the standard library: no whiteouts, owners only where the user may set them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.unpacked: list[Digest] = []
        self._lock = threading.Lock()
        self._count = 0

    def _dir(self, chain: Digest) -> Path:
        return self._root / "layers" / chain.hex

    def info(self, chain: Digest) -> object | None:
        return chain if self._dir(chain).is_dir() else None

    def unpack(self, chain: Digest, blob: Path, **_named: object) -> None:
        with self._lock:
            if self.info(chain) is None:
                self._dir(chain).mkdir(parents=True)
                with tarfile.open(blob) as archive:
                    # Set rather than passed: early 3.11 releases do not know the parameter.
                    archive.extraction_filter = lambda member, _path: member
                    archive.extractall(self._dir(chain))
                self.unpacked.append(chain)

    def layer_dirs(self, parents: Sequence[Digest]) -> list[Path]:
        return [self._dir(chain) for chain in reversed(parents)]

    @contextmanager
    def prepare(self, _parents: Sequence[Digest]) -> Iterator[Scratch]:
        with self._lock:
            self._count += 1
        directory = self._root / "scratch" / str(self._count)
        directory.mkdir(parents=True)
        yield Scratch(directory)


class PlainTrees:
    """The functions of the real Trees that the builder uses, in this process."""

    def __init__(self) -> None:
        self.walks = 0

    def walk(
        self, dirs: Sequence[Path], path: str, *, follow: bool = True, recursive: bool = True, hashes: bool = False
    ) -> list[Node]:
        self.walks += 1
        with LayerView(dirs) as view:
            nodes = list(view.walk(path, follow=follow, hashes=hashes)) if recursive else []
            return nodes or [view.resolve(path, follow=follow)]

    def read(self, dirs: Sequence[Path], path: str, *, limit: int) -> bytes:
        with LayerView(dirs) as view:
            return view.read_bytes(path, limit=limit)

    def pack(
        self, items: Iterable[Item], out: Sink, *, timestamp: int | None = None, progress: Progress | None = None
    ) -> Written:
        return write_items(items, out, timestamp=timestamp, progress=progress)


def make_layer(store: ContentStore, items: Iterable[Item]) -> Layer:
    with store.ingest() as ingest:
        written = write_items(items, ingest)
        digest = ingest.commit()
    return Layer(Descriptor(OCI_LAYER, digest, written.size), written.digest)


Action = Callable[[RunRequest, "OnOutput", "CancelToken"], RunOutcome | None]


class ScriptedSandbox:
    """Makes a layer with one file named after the command, unless an action is set for the command."""

    def __init__(self, store: ContentStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self.requests: list[RunRequest] = []
        self.actions: dict[str, Action] = {}

    @property
    def commands(self) -> list[str]:
        return [request.argv[-1] for request in self.requests]

    def run(self, request: RunRequest, *, on_output: OnOutput, cancel: CancelToken) -> RunOutcome:
        with self._lock:
            self.requests.append(request)
        action = self.actions.get(request.argv[-1])
        outcome = action(request, on_output, cancel) if action else None
        if outcome is not None:
            return outcome
        name = Digest.of(" ".join(request.argv).encode()).short
        item = Item(f"ran-{name}", mtime=request.timestamp or 0, source=" ".join(request.argv).encode())
        return RunOutcome(0, make_layer(self._store, [item]))


class KnownImages:
    """Images made of lists of entries."""

    def __init__(self, store: ContentStore) -> None:
        self._store = store
        self.images: dict[str, ResolvedImage] = {}
        self.asked: list[str] = []

    def add(self, name: str, items: Iterable[Item] = (), *, created: int = BASE_TIME, **settings: object) -> None:
        layer = make_layer(self._store, items)
        entry = History(created=mutate.timestamp(created), created_by=f"base {name}")
        config = mutate.append_layer(mutate.empty_config(PLATFORM), layer.diff_id, entry)
        config = mutate.set_container_config(config, ContainerConfig(**settings))  # type: ignore[arg-type]  # a test's own
        manifest = mutate.write_image(self._store, config, [layer.blob])
        self.images[str(Reference.parse(name))] = ResolvedImage(name, manifest, config, (layer,))

    def resolve(
        self,
        reference: Reference,
        *,
        platform: Platform,  # noqa: ARG002 - of the protocol
        pull: PullPolicy,  # noqa: ARG002 - of the protocol
        sink: EventSink,  # noqa: ARG002 - of the protocol
        cancel: CancelToken,  # noqa: ARG002 - of the protocol
    ) -> ResolvedImage:
        self.asked.append(str(reference))
        try:
            return self.images[str(reference)]
        except KeyError:
            raise ImageNotFound(f"no such image: {reference.familiar}") from None


@dataclass
class Workshop:
    """A builder with all its stand-ins, and what it told."""

    root: Path
    store: ContentStore = field(init=False)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = ContentStore(self.root / "content")
        self.store.ensure()
        self.snapshotter = PlainSnapshotter(self.root)
        self.trees = PlainTrees()
        self.sandbox = ScriptedSandbox(self.store)
        self.images = KnownImages(self.store)
        self.cache = SqliteCache(self.root / "state.sqlite")
        self.context = self.root / "context"
        self.context.mkdir()
        self.images.add(
            "base",
            [
                Item("etc", "dir", 0o755),
                Item("etc/passwd", source=PASSWD),
                Item("etc/group", source=GROUP),
                Item("tmp", "dir", 0o1777),
                Item("srv", "dir", 0o755),
                Item("srv/real", "dir", 0o750, 7, 8),
                Item("srv/link", "symlink", 0o777, target="real"),
                Item("srv/file", mode=0o644, source=b"old"),
            ],
        )

    def close(self) -> None:
        self.cache.close()

    def write(self, path: str, text: str = "", mode: int = 0o644) -> Path:
        """A file of the build context."""
        target = self.context / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)
        return target

    def options(self, dockerfile: str, **options: object) -> BuildOptions:
        return BuildOptions(
            dockerfile,
            **{"context": self.context, "platform": PLATFORM, **options},  # type: ignore[arg-type]  # a test's own
        )

    def build(self, dockerfile: str, *, cancel: CancelToken | None = None, **options: object) -> BuildResult:
        # Stand-ins have the methods the builder uses, not the whole protocols.
        builder = Builder(
            self.store,
            self.snapshotter,  # type: ignore[arg-type]  # see above
            self.trees,  # type: ignore[arg-type]  # see above
            self.sandbox,
            self.images,
            self.cache,
        )
        return builder.build(self.options(dockerfile, **options), self.events.append, cancel=cancel)

    def entries(self, layer: Layer) -> dict[str, tarfile.TarInfo]:
        """The entries of a layer, read by the standard library."""
        with tarfile.open(self.store.path(Digest(layer.blob.digest))) as archive:
            return {member.name: member for member in archive.getmembers()}

    def read(self, result: BuildResult, path: str) -> bytes:
        """A file of the image."""
        chains = [chain_id([layer.diff_id for layer in result.layers[: end + 1]]) for end in range(len(result.layers))]
        for index, (layer, chain) in enumerate(zip(result.layers, chains, strict=True)):
            blob = self.store.path(Digest(layer.blob.digest))
            self.snapshotter.unpack(chain, blob, diff_id=layer.diff_id, parents=chains[:index])
        try:
            return self.trees.read(self.snapshotter.layer_dirs(chains), path, limit=1 << 20)
        except NotFound as error:
            raise AssertionError(f"{path} is not in the image") from error


def reasons(result: BuildResult) -> dict[str, str]:
    """Step text -> ``CACHED`` or why it was not."""
    return {step.text: "CACHED" if step.cached else step.verdict.reason for step in result.steps}
