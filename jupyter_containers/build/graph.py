"""The build graph: what has to be made, from what, and nothing about how. Pure values.

A *vertex* is one operation on the results of its inputs; its id is the digest of its definition, so that two stages
which begin with the same steps share them. What a vertex makes is a :class:`~.interfaces.Stack` of layers.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from jupyter_containers.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from jupyter_containers.build.interfaces import NetworkMode, ScriptFile, Stack
    from jupyter_containers.errors import SourceRange


MountKind: TypeAlias = Literal["bind", "cache", "tmpfs", "secret", "ssh"]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a command would find at a point of a stage: all variables, where it runs, as whom, by which shell."""

    env: tuple[tuple[str, str], ...] = ()
    cwd: str = "/"
    user: str = ""
    shell: tuple[str, ...] = ("/bin/sh", "-c")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an operation stands in the Dockerfile, for events, messages and debugging; not part of its definition.

    ``index`` counts from 1 over the ``total`` steps of its stage that make something, FROM included; 0 is an image that
    COPY takes files from, which is no step.
    """

    stage: str
    index: int
    total: int
    source: SourceRange
    text: str
    surroundings: Surroundings = field(default_factory=Surroundings)


@dataclass(frozen=True, slots=True)
class Source:
    """``FROM image`` or ``FROM scratch``: the layers are known before the graph is run."""

    name: str
    layers: Stack


@dataclass(frozen=True, slots=True)
class RunMount:
    """One ``--mount`` of a RUN.

    ``input`` is the number of the vertex's input that holds its files, 0 for none; ``whole`` says that all of that is
    mounted, otherwise it is a layer whose :data:`MOUNTED` is. ``id`` names a cache, a secret or an agent.
    """

    kind: MountKind
    target: str
    input: int = 0
    whole: bool = False
    readonly: bool = True
    id: str = ""
    sharing: str = "shared"
    required: bool = False
    size: int = 0
    mode: int | None = None
    uid: int = 0
    gid: int = 0
    env: str = ""


MOUNTED: Final = "mounted"
"""The name that the files of a mount have in the layer that was made for it."""


@dataclass(frozen=True, slots=True)
class Run:
    """``RUN``: a command on a snapshot of the first input; the others hold files of its mounts.

    ``env`` is all the command sees but the proxy settings, which stand in ``proxy`` and do not enter the cache key;
    ``arguments`` names the build arguments among them. ``timestamp``, in seconds since the epoch (None: times are kept
    as they are), is the time of what
    it makes.
    """

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    arguments: tuple[str, ...]
    cwd: str
    user: str
    timestamp: int | None = 0
    network: NetworkMode = "default"
    extra_hosts: tuple[tuple[str, str], ...] = ()
    scripts: tuple[ScriptFile, ...] = ()
    proxy: tuple[tuple[str, str], ...] = ()
    mounts: tuple[RunMount, ...] = ()
    privileged: bool = False


Unpack: TypeAlias = Literal["never", "local", "always"]


@dataclass(frozen=True, slots=True)
class InlineFile:
    """A file whose content stands in the Dockerfile (``COPY <<name /destination``)."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class CopyFiles:
    """``COPY`` and ``ADD``: files from the build context, from the second input, or from the Dockerfile itself.

    Parameters
    ----------
    sources
        Patterns, relative to the root of the context or of the second input.
    destination
        Absolute; a trailing slash says that it is a directory.
    chown
        ``user[:group]`` as written, empty for 0:0.
    chmod
        As written, empty to keep the mode.
    unpack
        Which tar archives are extracted: ADD does it to local ones, ``--unpack`` says otherwise.
    from_image
        The name of the image or stage that the second input is, empty for a build context.
    context
        The name of a named context to read, empty for the build context.
    link
        Whether the layer stands alone: it is the same on top of anything, and follows no links below it.
    parents
        Whether directories of the source's path are kept, those behind ``/./`` in it.
    exclude
        Patterns of files that are left out.
    checksum, keep_git_dir
        Of what is fetched.
    keyword
        ``COPY`` or ``ADD``, for messages.
    """

    sources: tuple[str, ...]
    destination: str
    timestamp: int | None = 0
    inline: tuple[InlineFile, ...] = ()
    chown: str = ""
    chmod: str = ""
    unpack: Unpack = "never"
    from_image: str = ""
    context: str = ""
    link: bool = False
    parents: bool = False
    exclude: tuple[str, ...] = ()
    checksum: str = ""
    keep_git_dir: bool = False
    keyword: str = "COPY"


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """``WORKDIR``: the directory, where it is not there yet, owned by the user of the image."""

    path: str
    user: str = ""
    timestamp: int | None = 0


Operation: TypeAlias = Source | Run | CopyFiles | MakeDirectory
Kind: TypeAlias = Literal["Source", "Run", "CopyFiles", "MakeDirectory"]


@dataclass(frozen=True, slots=True)
class Vertex:
    """One operation: ``inputs`` are ids, the file system it works on first."""

    id: str
    operation: Operation
    inputs: tuple[str, ...]
    place: Place


def definition_digest(operation: Operation, inputs: Iterable[str]) -> str:
    """The id of the vertex: 64 hexadecimal digits over the operation and what it works on."""
    document = msgspec.json.encode([type(operation).__name__, operation, list(inputs)], enc_hook=str)  # str: Digest
    return hashlib.sha256(document).hexdigest()


@dataclass(slots=True)
class Graph:
    """Vertices, each after those it needs."""

    vertices: dict[str, Vertex] = field(default_factory=dict)

    def add(self, operation: Operation, inputs: tuple[str, ...], place: Place) -> str:
        """Put an operation in and return its id; one that is there already is kept as it is."""
        missing = [name for name in inputs if name not in self.vertices]
        if missing:
            raise ValueError(f"inputs that are not in the graph: {missing}")
        key = definition_digest(operation, inputs)
        self.vertices.setdefault(key, Vertex(key, operation, inputs, place))
        return key

    def for_target(self, target: str) -> Graph:
        """What of it a vertex needs, that one included, in the same order."""
        wanted, todo = {target}, [target]
        while todo:
            new = [name for name in self.vertices[todo.pop()].inputs if name not in wanted]
            wanted.update(new)
            todo += new
        return Graph({key: vertex for key, vertex in self.vertices.items() if key in wanted})

    def needs(self) -> Mapping[str, tuple[str, ...]]:
        """Which vertices each one needs."""
        return {key: vertex.inputs for key, vertex in self.vertices.items()}

    def steps_before(self, key: str) -> tuple[tuple[str, int], ...]:
        """The steps whose results a vertex works on, by stage and index, past what was made for mounts."""
        found: list[tuple[str, int]] = []
        for name in self.vertices[key].inputs:
            place = self.vertices[name].place
            found += [(place.stage, place.index)] if place.index else self.steps_before(name)
        return tuple(dict.fromkeys(found))

    def __getitem__(self, key: str) -> Vertex:
        return self.vertices[key]

    def __iter__(self) -> Iterator[Vertex]:
        return iter(self.vertices.values())

    def __len__(self) -> int:
        return len(self.vertices)
