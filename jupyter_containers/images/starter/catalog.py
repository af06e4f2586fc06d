"""Making the embedded images. The same machine gives the same digests, whoever makes them and when."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Final

import msgspec

from jupyter_containers.errors import NotFound
from jupyter_containers.images.mutate import (
    append_history,
    append_layer,
    empty_config,
    set_container_config,
    write_image,
)
from jupyter_containers.images.starter.base import make_base
from jupyter_containers.images.starter.libraries import LibraryFinder
from jupyter_containers.images.starter.python import CERTIFICATES, make_python, running_installation
from jupyter_containers.images.starter.tree import Copy, Data, Directory, Link, Tree
from jupyter_containers.layers.tar import Entry, TarWriter
from jupyter_containers.oci.image_spec import OCI_LAYER, ContainerConfig, Descriptor, History
from jupyter_containers.oci.names import DEFAULT_TAG, DOCKER_HUB, Digest, Platform, Reference
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jupyter_containers.content.store import ContentStore
    from jupyter_containers.images.starter.tree import Node

CREATED: Final = "1970-01-01T00:00:00Z"
# A label is handed down to what is built from the image, so it is one line. The rest, every program with its place on
# this machine and its digest, are annotations of the manifest.
LABEL: Final = "jupyter-containers.starter"
SOURCES: Final = "jupyter-containers.starter.sources"
_TITLE: Final = "org.opencontainers.image.title"
_DESCRIPTION: Final = "org.opencontainers.image.description"
_CREATED: Final = "org.opencontainers.image.created"
_VERSION: Final = "org.opencontainers.image.version"
_PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OWN_NAMESPACE: Final = "library"


@dataclass(frozen=True, slots=True)
class Starter:
    """An embedded image: its name and what it is for."""

    name: str
    description: str


@dataclass(frozen=True, slots=True)
class _Written:
    """A layer in the store."""

    descriptor: Descriptor
    diff_id: Digest
    sources: Mapping[str, str]
    """The programs and libraries in it: path in the image -> path on the machine and sha256."""


STARTERS: Final[Mapping[str, Starter]] = {
    starter.name: starter
    for starter in (
        Starter("starter", "A shell and the core tools, made of the programs of this machine"),
        Starter("starter-python", "Python with its standard library, made of the interpreter of this machine"),
    )
}


def is_starter(reference: Reference) -> bool:
    """Whether a name means an embedded image: ``starter`` or ``starter-python``, without a tag or with ``latest``."""
    namespace, _, name = reference.repository.rpartition("/")
    return (
        name in STARTERS
        and (reference.registry, namespace, reference.digest) == (DOCKER_HUB, _OWN_NAMESPACE, None)
        and reference.tag in {None, DEFAULT_TAG}
    )


def make(name: str, store: ContentStore, *, busybox: bool = True, bytecode: bool = True) -> Descriptor:
    """Make an embedded image in the store and return the descriptor of its manifest. Idempotent.

    The caller holds the store's shared lock until it refers to the image.

    Parameters
    ----------
    name
        A key of :data:`STARTERS`.
    store
        Where to.
    busybox
        Whether a static busybox of the machine may serve for the tools.
    bytecode
        Whether compiled modules belong to ``starter-python``.

    Raises
    ------
    NotFound
        when there is no embedded image of that name.
    Unsupported
        when this machine's programs cannot be used so.
    """
    if name not in STARTERS:
        raise NotFound(f"there is no embedded image {name!r}", hint=f"there are {', '.join(STARTERS)}")
    finder = LibraryFinder(library_path=[path for path in os.environ.get("LD_LIBRARY_PATH", "").split(":") if path])
    base = make_base(finder, busybox=busybox)
    layers = [write_layer(store, base.tree)]
    config = append_layer(
        empty_config(Platform.of_machine(os.uname().machine)), layers[0].diff_id, _history(f"starter: {base.summary}")
    )
    settings = ContainerConfig(env=[_PATH], cmd=["/bin/sh"])
    annotations = {_TITLE: name, _DESCRIPTION: STARTERS[name].description, _CREATED: CREATED}
    origin = base.summary
    if name == "starter-python":
        installation = running_installation()
        tree = Tree(below=base.tree.everything())
        make_python(tree, finder, installation, bytecode=bytecode)
        layers.append(write_layer(store, tree))
        summary = f"Python {installation.version} of {installation.prefix}"
        config = append_layer(config, layers[1].diff_id, _history(f"starter-python: {summary}"))
        certificates = [f"SSL_CERT_FILE={CERTIFICATES}"] if tree.has(CERTIFICATES) else []
        settings = ContainerConfig(env=[_PATH, "LANG=C.UTF-8", *certificates], cmd=["python3"])
        annotations[_VERSION] = installation.version
        origin = f"{summary}; {origin}"
    annotations[SOURCES] = json.dumps({path: text for layer in layers for path, text in layer.sources.items()})
    settings = msgspec.structs.replace(settings, labels={LABEL: origin})
    complete = append_history(set_container_config(config, settings), _history(f"CMD {json.dumps(settings.cmd)}"))
    return write_image(store, complete, [layer.descriptor for layer in layers], annotations=annotations)


def write_layer(store: ContentStore, tree: Tree) -> _Written:
    """Store the files of a tree as a plain tar: sorted, of the epoch, by root unless they are a user's."""
    sources: dict[str, str] = {}
    with store.ingest() as ingest:
        writer = TarWriter(ingest)
        for path, node in tree:
            entry, content = _entry(path, node)
            writer.add(entry, content)
            if isinstance(node, Copy) and (node.mode & 0o111 or path == CERTIFICATES):
                sources[path] = f"{node.source} sha256:{hashlib.sha256(content).hexdigest()}"
        diff_id = writer.close()
        size = ingest.size
        ingest.commit()
    return _Written(Descriptor(media_type=OCI_LAYER, digest=diff_id, size=size), diff_id, sources)


def _history(created_by: str) -> History:
    return History(created=CREATED, created_by=created_by)


def _entry(path: str, node: Node) -> tuple[Entry, bytes]:
    name = os.fsencode(path[1:])
    match node:
        case Directory(mode, owner):
            return Entry(name, "dir", mode=mode, uid=owner, gid=owner), b""
        case Link(target):
            return Entry(name, "symlink", mode=0o777, target=os.fsencode(target)), b""
        case Data(content, mode):
            return Entry(name, "file", mode=mode, size=len(content)), content
        case Copy(source, mode):
            with open(source, "rb") as file:
                content = file.read()
            return Entry(name, "file", mode=mode, size=len(content)), content
