"""What is kept of a container in the state file: enough to start it again and to show it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from jupyter_containers import documents
from jupyter_containers.engine.launch.mounts import MountPoint
from jupyter_containers.engine.network.endpoints import Endpoint
from jupyter_containers.engine.options import RunOptions
from jupyter_containers.errors import ContainerNotFound, Corrupt, InvalidInput
from jupyter_containers.network.ports import Port
from jupyter_containers.oci.image_spec import Healthcheck

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jupyter_containers.state import State, VolumeRow

_ADJECTIVES = """
amber bold brave bright calm clever crisp curious daring eager early fair fond gentle glad golden happy honest jolly
keen kind lively lucid lucky merry mild modest neat noble patient proud quick quiet ready serene sharp silent silver
sincere smart snug steady sunny swift tidy tranquil upbeat vivid warm wise witty zesty
""".split()  # noqa: SIM905 - a word list reads best as prose
_NAMES = """
babbage backus bartik borg boole cerf church clarke codd cray curie darwin dijkstra einstein engelbart euler faraday
feynman franklin galileo gauss germain goldberg goodall hamilton hawking hilbert hopper hypatia johnson joliot kare
keller kepler kernighan knuth lamarr lamport leakey liskov lovelace maxwell mccarthy meitner merkle mirzakhani moser
newton noether pascal pasteur perlman poincare ramanujan ride ritchie rubin sammet shannon sinoussi spence thompson
torvalds turing volhard wilson wozniak wu yalow
""".split()  # noqa: SIM905 - a word list reads best as prose


class ContainerRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A container as it was created. ``created`` is ns since the epoch; ``args`` the full command line,
    of which the first ``entrypoint`` are the entry point.

    ``layers`` are the chain ids of its image, bottom first; ``env`` is resolved, so a later start is the same.
    ``exposed`` are the ports it says it serves: ``80/tcp``; ``ports`` are published, ``bound`` where they are now.
    """

    id: str
    name: str
    image: str
    image_id: str
    digest: str
    created: int
    args: tuple[str, ...]
    entrypoint: int = 0
    env: tuple[str, ...]
    cwd: str
    user: str
    hostname: str
    network: str
    chains: tuple[str, ...]
    labels: dict[str, str] = {}
    stop_signal: str = "SIGTERM"
    stop_timeout: int = 10
    health: Healthcheck | None = None
    memory_limit: int | None = None
    address: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    exposed: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    bound: tuple[Port, ...] = ()
    notices: tuple[str, ...] = ()
    mounts: tuple[MountPoint, ...] = ()
    options: RunOptions

    def encode(self) -> bytes:
        """The bytes for the state file.

        Raises
        ------
        InvalidInput
            when a text came from bytes that are no UTF-8: no JSON document can hold it.
        """
        try:
            return msgspec.json.encode(self)
        except UnicodeEncodeError as error:
            around = error.object[max(0, error.start - 10) : error.end + 10]
            raise InvalidInput(
                f"an argument, a variable or an option is not UTF-8: {os.fsencode(around)!r}",
                hint="give such bytes on the standard input or in a file",
            ) from error

    @classmethod
    def decode(cls, data: bytes) -> ContainerRecord:
        """Read what :meth:`encode` wrote.

        Raises
        ------
        Corrupt
            when the state file holds something else.
        """
        try:
            return documents.decode(data, cls)
        except msgspec.DecodeError as error:
            raise Corrupt(f"the record of a container is damaged: {error}") from error


def change(state: State, identity: str, how: Callable[[ContainerRecord], ContainerRecord]) -> ContainerRecord:
    """Change what is kept of a container, as it is now: several processes may change different things of it at once.

    Raises
    ------
    ContainerNotFound
        when it was removed meanwhile.
    """
    return _changed(identity, state.change_container(identity, _on_bytes(how)))


def reuse(
    state: State,
    identity: str,
    how: Callable[[ContainerRecord], ContainerRecord],
    *,
    volumes: Sequence[str],
    new_volumes: Sequence[VolumeRow] = (),
) -> ContainerRecord:
    """Change what is kept of a container and which volumes it uses; raises NotFound, and what :func:`change` does."""
    data = state.reuse_container(identity, _on_bytes(how), volumes=volumes, new_volumes=new_volumes)
    return _changed(identity, data)


def rename(state: State, identity: str, name: str) -> ContainerRecord:
    """Give a container another name; raises NameInUse, and what :func:`change` does."""
    how = _on_bytes(lambda record: msgspec.structs.replace(record, name=name))
    return _changed(identity, state.rename_container(identity, name, how))


def _on_bytes(how: Callable[[ContainerRecord], ContainerRecord]) -> Callable[[bytes], bytes]:
    return lambda data: how(ContainerRecord.decode(data)).encode()


def _changed(identity: str, data: bytes | None) -> ContainerRecord:
    if data is None:
        raise ContainerNotFound(f"no such container: {identity[:12]}", hint="it was removed meanwhile")
    return ContainerRecord.decode(data)


def new_id() -> str:
    """64 random hexadecimal digits, never all decimal in the first 12 (that would be read as a number)."""
    while (identity := os.urandom(32).hex())[:12].isdecimal():
        pass
    return identity


def random_name() -> str:
    """An adjective and a surname, as Docker's users expect."""
    first, second = os.urandom(4), os.urandom(4)
    return f"{_ADJECTIVES[int.from_bytes(first) % len(_ADJECTIVES)]}_{_NAMES[int.from_bytes(second) % len(_NAMES)]}"
