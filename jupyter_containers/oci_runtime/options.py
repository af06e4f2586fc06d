"""The command line: global options, an operation, its options, its arguments.

Written as Go's flag package reads it, since the callers are used to that: one dash or two, ``--name=value`` or
``--name value``, and for switches ``--name`` or ``--name=false``.
"""

from __future__ import annotations

from jupyter_containers.oci_runtime.failure import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = "jupyter-container-runtime"
_TRUE, _FALSE = {"1", "t", "T", "true", "TRUE", "True"}, {"0", "f", "F", "false", "FALSE", "False"}


class Syntax:
    """What may follow an operation.

    Parameters
    ----------
    usage
        The arguments, for the help and for errors.
    least, most
        How many arguments there are; ``most`` -1: any number, and options end at the first.
    valued
        Options with a value, by their names; ``name/n`` has a short name too.
    switches
        Options without one.
    """

    def __init__(
        self, usage: str, least: int = 1, most: int = 1, *, valued: Sequence[str] = (), switches: Sequence[str] = ()
    ) -> None:
        self.usage = usage
        self.least = least
        self.most = most
        self.valued = _names(valued)
        self.switches = _names([*switches, "help/h"])


def _names(words: Sequence[str]) -> dict[str, str]:
    """Every way to write an option -> its name."""
    return {alias: word.partition("/")[0] for word in words for alias in word.split("/")}


GLOBAL = Syntax(
    "<operation>",
    valued=("root", "log", "log-format", "criu", "rootless"),
    switches=("debug", "systemd-cgroup", "version/v"),
)

_CREATE = ("bundle/b", "console-socket", "pid-file", "preserve-fds")
_UPDATE = (
    "resources/r",
    "blkio-weight",
    "cpu-period",
    "cpu-quota",
    "cpu-burst",
    "cpu-share",
    "cpu-rt-period",
    "cpu-rt-runtime",
    "cpu-idle",
    "cpuset-cpus",
    "cpuset-mems",
    "kernel-memory",
    "kernel-memory-tcp",
    "memory",
    "memory-reservation",
    "memory-swap",
    "pids-limit",
    "l3-cache-schema",
    "mem-bw-schema",
)
_EXEC = (
    "console-socket",
    "cwd",
    "env/e",
    "user/u",
    "additional-gids/g",
    "process/p",
    "pid-file",
    "process-label",
    "apparmor",
    "cap/c",
    "preserve-fds",
    "cgroup",
)

OPERATIONS = {
    "checkpoint": Syntax("<container-id>", 0, -1),
    "create": Syntax("<container-id>", valued=_CREATE, switches=("no-pivot", "no-new-keyring")),
    "delete": Syntax("<container-id>", switches=("force/f",)),
    "events": Syntax("<container-id>", valued=("interval",), switches=("stats",)),
    "exec": Syntax(
        "<container-id> <command> [argument...]",
        1,
        -1,
        valued=_EXEC,
        switches=("tty/t", "detach/d", "no-new-privs", "ignore-paused", "no-subreaper"),
    ),
    "features": Syntax("", 0, 0),
    "kill": Syntax("<container-id> [signal]", 1, 2, switches=("all/a",)),
    "list": Syntax("", 0, 0, valued=("format/f",), switches=("quiet/q",)),
    "pause": Syntax("<container-id>"),
    "ps": Syntax("<container-id> [ps options]", 1, -1, valued=("format/f",)),
    "restore": Syntax("<container-id>", 0, -1),
    "resume": Syntax("<container-id>"),
    "run": Syntax(
        "<container-id>",
        valued=_CREATE,
        switches=("detach/d", "keep", "no-subreaper", "no-pivot", "no-new-keyring"),
    ),
    "spec": Syntax("", 0, 0, valued=("bundle/b",), switches=("rootless",)),
    "start": Syntax("<container-id>"),
    "state": Syntax("<container-id>"),
    "update": Syntax("<container-id>", valued=_UPDATE),
}


class Options:
    """Options by name, and the arguments."""

    def __init__(self) -> None:
        self.values: dict[str, list[str]] = {}
        self.switches: set[str] = set()
        self.arguments: list[str] = []

    def value(self, name: str, default: str = "") -> str:
        """The last value of an option."""
        return self.values[name][-1] if name in self.values else default

    def number(self, name: str, default: int = 0) -> int:
        """The value of an option that is a number. Raises :exc:`CommandError` if it is not."""
        text = self.value(name)
        if not text:
            return default
        try:
            return int(text)
        except ValueError:
            raise CommandError(f"invalid value {text!r} for option --{name}: not a number") from None


class Line:
    """A command line taken apart: the global options, the operation and its options."""

    def __init__(self, words: Sequence[str]) -> None:
        self.globals, rest = _read(GLOBAL, list(words), "")
        self.operation = rest[0] if rest else ""
        self.options = Options()
        if not rest or self.operation == "help":
            self.globals.switches.add("help")
            return
        syntax = OPERATIONS.get(self.operation)
        if syntax is None:
            raise CommandError(f"unknown operation {self.operation!r}: see {PROGRAM} --help")
        self.options, self.options.arguments = _read(syntax, rest[1:], self.operation)
        if "help" in self.options.switches:
            return
        count = len(self.options.arguments)
        if count < syntax.least or (0 <= syntax.most < count):
            raise CommandError(
                f'"{self.operation}" takes {syntax.usage or "no arguments"}: {count} arguments were given'
            )


def _read(syntax: Syntax, words: list[str], operation: str) -> tuple[Options, list[str]]:
    options = Options()
    arguments: list[str] = []
    while words:
        word = words.pop(0)
        if word == "--":
            return options, arguments + words
        if not word.startswith("-") or word == "-":
            arguments.append(word)
            if syntax.most < 0 or syntax is GLOBAL:
                return options, arguments + words
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if name in syntax.valued:
            if not equals:
                if not words:
                    raise CommandError(f"option {word} needs a value")
                value = words.pop(0)
            options.values.setdefault(syntax.valued[name], []).append(value)
        elif name in syntax.switches:
            if equals and value not in _TRUE | _FALSE:
                raise CommandError(f"option {word}: the value must be true or false")
            (options.switches.discard if value in _FALSE else options.switches.add)(syntax.switches[name])
        else:
            raise CommandError(f"{f'{operation}: ' if operation else ''}unknown option {word}")
    return options, arguments


def usage() -> str:
    """The help."""
    lines = [f"usage: {PROGRAM} [global options] <operation> [options] [arguments]", "", "global options:"]
    lines += _described(GLOBAL)
    lines += ["", "operations:"]
    for name, syntax in OPERATIONS.items():
        lines += [f"  {name} {syntax.usage}".rstrip(), *_described(syntax, "      ")]
    return "\n".join(lines)


def _described(syntax: Syntax, indent: str = "  ") -> list[str]:
    longs = [f"--{name} VALUE" for name in dict.fromkeys(syntax.valued.values())]
    longs += [f"--{name}" for name in dict.fromkeys(syntax.switches.values()) if name != "help"]
    return [f"{indent}{long}" for long in longs]
