"""What is kept of a container in the state file: enough to start it again and to show it."""

from __future__ import annotations

import os
import secrets

import msgspec

from jupyter_containers.engine.options import RunOptions
from jupyter_containers.errors import Corrupt, InvalidInput

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
    """A container as it was created. ``created`` is ns since the epoch; ``args`` the full command line.

    ``layers`` are the chain ids of its image, bottom first; ``env`` is resolved, so a later start is the same.
    """

    id: str
    name: str
    image: str
    image_id: str
    digest: str
    created: int
    args: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    user: str
    hostname: str
    network: str
    chains: tuple[str, ...]
    labels: dict[str, str] = {}
    stop_signal: str = "SIGTERM"
    stop_timeout: int = 10
    memory_limit: int | None = None
    address: str = ""
    notices: tuple[str, ...] = ()
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
            return msgspec.json.decode(data, type=cls)
        except msgspec.DecodeError as error:
            raise Corrupt(f"the record of a container is damaged: {error}") from error


def new_id() -> str:
    """64 random hexadecimal digits, never all decimal in the first 12 (that would be read as a number)."""
    while (identity := secrets.token_hex(32))[:12].isdecimal():
        pass
    return identity


def random_name() -> str:
    """An adjective and a surname, as Docker's users expect."""
    return f"{secrets.choice(_ADJECTIVES)}_{secrets.choice(_NAMES)}"
