"""The instructions of the language, typed.

Every value is as written: variables, quotes and escapes are in it until :func:`.substitute.expand_instruction` gives
an instruction of the same type with them resolved. Equality ignores where an instruction stands.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from jupyter_containers.build.dockerfile.heredocs import opener
from jupyter_containers.records import dataclass, field

if TYPE_CHECKING:
    from jupyter_containers.build.dockerfile.nodes import Heredoc, Node
    from jupyter_containers.errors import SourceRange


@dataclass(frozen=True, slots=True)
class _Instruction:
    """What all instructions have: the node they were made of."""

    node: Node = field(compare=False, repr=False)

    @property
    def keyword(self) -> str:
        """The name in upper case."""
        return self.node.keyword

    @property
    def source(self) -> SourceRange:
        """Where it stands."""
        return self.node.source

    @property
    def text(self) -> str:
        """Its lines in the file."""
        return self.node.text

    @property
    def line(self) -> str:
        """It on one line: continuations joined, without comments and here-documents."""
        return self.node.line


@dataclass(frozen=True, slots=True)
class ShellForm:
    """A command that the shell of SHELL runs."""

    text: str


@dataclass(frozen=True, slots=True)
class ExecForm:
    """A command that is run as it is; no arguments at all mean that an inherited one is removed."""

    arguments: tuple[str, ...]


Command = ShellForm | ExecForm


class MountType(enum.Enum):
    """The kinds of ``RUN --mount``."""

    BIND = "bind"
    CACHE = "cache"
    TMPFS = "tmpfs"
    SECRET = "secret"  # noqa: S105 - a kind of mount
    SSH = "ssh"


class Sharing(enum.Enum):
    """Who else may use a cache mount at the same time."""

    SHARED = "shared"
    PRIVATE = "private"
    LOCKED = "locked"


@dataclass(frozen=True, slots=True)
class Mount:
    """One ``RUN --mount``, its variables resolved. Absent numbers and names take their type's defaults.

    ``size`` is in bytes, ``mode`` are permission bits.
    """

    type: MountType
    target: str = ""
    source: str = ""
    from_: str = ""
    id: str = ""
    readonly: bool = True
    required: bool = False
    sharing: Sharing = Sharing.SHARED
    size: int = 0
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    env: str = ""


@dataclass(frozen=True, slots=True)
class From(_Instruction):
    """``FROM [--platform=p] image [AS name]``; the name is in lower case."""

    image: str
    name: str | None = None
    platform: str | None = None


@dataclass(frozen=True, slots=True)
class Run(_Instruction):
    """``RUN``. ``mounts`` and ``devices`` are as written; :func:`.mounts.parse_mount` reads a mount."""

    command: Command
    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[str, ...] = ()
    network: str = "default"
    security: str = "sandbox"
    devices: tuple[str, ...] = ()

    @property
    def script(self) -> Heredoc | None:
        """The here-document that is the whole command (``RUN <<EOF``).

        Its text goes to the shell in place of the command, or is run as a program where it starts with ``#!``.
        """
        if len(self.heredocs) != 1 or not isinstance(self.command, ShellForm):
            return None
        return self.heredocs[0] if opener(self.command.text) else None

    @property
    def shell_text(self) -> str:
        """What the shell is given: the script, or the command with its here-documents for the shell to read."""
        assert isinstance(self.command, ShellForm)
        if self.script is not None:
            return self.script.text
        return self.command.text + "".join(f"\n{doc.content}{doc.name}" for doc in self.heredocs)


@dataclass(frozen=True, slots=True)
class Copy(_Instruction):
    """``COPY``. ``heredocs`` become files named after them, in addition to ``sources``."""

    sources: tuple[str, ...]
    destination: str
    heredocs: tuple[Heredoc, ...] = ()
    from_: str | None = None
    chown: str | None = None
    chmod: str | None = None
    link: bool = False
    parents: bool = False
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Add(_Instruction):
    """``ADD``. ``unpack`` is None where it is left to what the source is."""

    sources: tuple[str, ...]
    destination: str
    heredocs: tuple[Heredoc, ...] = ()
    chown: str | None = None
    chmod: str | None = None
    link: bool = False
    exclude: tuple[str, ...] = ()
    checksum: str | None = None
    keep_git_dir: bool | None = None
    unpack: bool | None = None


@dataclass(frozen=True, slots=True)
class Env(_Instruction):
    """``ENV name=value ...``."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Label(_Instruction):
    """``LABEL name=value ...``."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Arg(_Instruction):
    """``ARG name[=default] ...``; None is a declaration without default."""

    pairs: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class Workdir(_Instruction):
    """``WORKDIR path``."""

    path: str


@dataclass(frozen=True, slots=True)
class User(_Instruction):
    """``USER user[:group]``."""

    user: str


@dataclass(frozen=True, slots=True)
class Expose(_Instruction):
    """``EXPOSE port[-port][/protocol] ...``."""

    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Volume(_Instruction):
    """``VOLUME path ...``."""

    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entrypoint(_Instruction):
    """``ENTRYPOINT``."""

    command: Command


@dataclass(frozen=True, slots=True)
class Cmd(_Instruction):
    """``CMD``."""

    command: Command


@dataclass(frozen=True, slots=True)
class Shell(_Instruction):
    """``SHELL ["program", "argument"]``: what shell forms are handed to from here on."""

    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stopsignal(_Instruction):
    """``STOPSIGNAL signal``."""

    signal: str


@dataclass(frozen=True, slots=True)
class Onbuild(_Instruction):
    """``ONBUILD instruction``. ``trigger`` is what the image's configuration keeps, here-documents included."""

    instruction: Instruction
    trigger: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class Healthcheck(_Instruction):
    """``HEALTHCHECK``. Durations are in nanoseconds, 0 means inherited; no command means ``HEALTHCHECK NONE``."""

    command: Command | None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class Maintainer(_Instruction):
    """``MAINTAINER name``, deprecated."""

    name: str


Instruction = (
    From
    | Run
    | Copy
    | Add
    | Env
    | Label
    | Arg
    | Workdir
    | User
    | Expose
    | Volume
    | Entrypoint
    | Cmd
    | Shell
    | Stopsignal
    | Onbuild
    | Healthcheck
    | Maintainer
)
