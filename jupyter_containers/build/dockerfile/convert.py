"""From the syntax tree to typed instructions, with what Docker checks before it runs anything."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final

from jupyter_containers.build.dockerfile import heredocs, mounts
from jupyter_containers.build.dockerfile import instructions as ins
from jupyter_containers.build.dockerfile.durations import parse_duration
from jupyter_containers.build.dockerfile.flags import FlagValues, read_flags
from jupyter_containers.build.dockerfile.parser import KEYWORDS
from jupyter_containers.build.dockerfile.words import SPACE, ArgumentsError, split_keyword
from jupyter_containers.errors import DockerfileError

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_containers.build.dockerfile.nodes import Heredoc, Node

_STAGE_NAME = re.compile(r"[a-z][a-z0-9._-]*")
_NETWORKS = ("default", "none", "host")
_SECURITIES = ("sandbox", "insecure")
_NOT_IN_ONBUILD = frozenset({"FROM", "MAINTAINER"})
_MIN_DURATION = 10**6  # nanoseconds: Docker refuses checks more often than each millisecond


def to_instruction(node: Node) -> ins.Instruction:
    """Say what a node means.

    Raises
    ------
    DockerfileError
        for an unknown instruction, an unknown flag, and arguments the instruction does not take.
    """
    try:
        return _convert(node)
    except ArgumentsError as error:
        raise DockerfileError(str(error), source=node.source, text=node.text) from error


def _convert(node: Node) -> ins.Instruction:
    if any("\0" in text for text in (*node.words, *node.flags, *(document.content for document in node.heredocs))):
        raise ArgumentsError(f"{node.keyword} holds a NUL character")
    build = _BUILDERS.get(node.keyword)
    if build is None:
        written = split_keyword(node.line)[0] or node.keyword
        close = difflib.get_close_matches(node.keyword, sorted(KEYWORDS), n=1)
        raise ArgumentsError(f"unknown instruction: {written}" + (f" (did you mean {close[0]}?)" if close else ""))
    return build(node, read_flags(node.keyword, node.flags))


def _exactly_one(node: Node) -> str:
    if len(node.words) != 1:
        raise ArgumentsError(f"{node.keyword} requires exactly one argument")
    return node.words[0]


def _at_least_one(node: Node) -> tuple[str, ...]:
    if not node.words:
        raise ArgumentsError(f"{node.keyword} requires at least one argument")
    return node.words


def _from(node: Node, flags: FlagValues) -> ins.From:
    words = node.words
    if len(words) == 3 and words[1].lower() == "as":  # noqa: PLR2004 - image AS name
        name = words[2].lower()
        if not _STAGE_NAME.fullmatch(name):
            raise ArgumentsError(
                f'invalid name for build stage: "{words[2]}", name can\'t start with a number or contain symbols'
            )
    elif len(words) == 1:
        name = None
    else:
        raise ArgumentsError("FROM requires either one or three arguments")
    return ins.From(node, words[0], name, flags.text.get("platform"))


def _command(node: Node, words: tuple[str, ...]) -> ins.Command:
    if node.json:
        return ins.ExecForm(words)
    return ins.ShellForm(" ".join(words))


def _run(node: Node, flags: FlagValues) -> ins.Run:
    command = _command(node, _at_least_one(node))
    network = _choice("network", flags.text.get("network", "default"), _NETWORKS)
    security = _choice("security", flags.text.get("security", "sandbox"), _SECURITIES)
    written = flags.texts.get("mount", ())
    for mount in written:
        mounts.mount_origin(mount)
        if "$" not in mount:
            mounts.parse_mount(mount)
    return ins.Run(node, command, node.heredocs, written, network, security, flags.texts.get("device", ()))


def _choice(flag: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ArgumentsError(f'{flag} "{value}" is not supported: it is one of {", ".join(allowed)}')
    return value


def _sources(node: Node) -> tuple[tuple[str, ...], str]:
    """Paths and destination; the words that open here-documents are taken out."""
    if len(node.words) < 2:  # noqa: PLR2004 - a source and a destination
        given = "no arguments were" if not node.words else "only one was"
        raise ArgumentsError(
            f"{node.keyword} requires at least two arguments, but {given} provided. Destination could not be determined"
        )
    *paths, destination = node.words
    if node.json:
        return tuple(paths), destination
    if heredocs.opener(destination):
        raise ArgumentsError(f"{node.keyword} cannot accept a heredoc as a destination")
    plain = tuple(path for path in paths if heredocs.opener(path) is None)
    if len(paths) - len(plain) != len(node.heredocs):
        raise ArgumentsError(f"{node.keyword} takes no heredoc whose delimiter has spaces")
    return plain, destination


def _copy(node: Node, flags: FlagValues) -> ins.Copy:
    paths, destination = _sources(node)
    return ins.Copy(
        node,
        paths,
        destination,
        node.heredocs,
        from_=flags.text.get("from"),
        chown=flags.text.get("chown"),
        chmod=flags.text.get("chmod"),
        link=flags.booleans.get("link", False),
        parents=flags.booleans.get("parents", False),
        exclude=flags.texts.get("exclude", ()),
    )


def _add(node: Node, flags: FlagValues) -> ins.Add:
    paths, destination = _sources(node)
    return ins.Add(
        node,
        paths,
        destination,
        node.heredocs,
        chown=flags.text.get("chown"),
        chmod=flags.text.get("chmod"),
        link=flags.booleans.get("link", False),
        exclude=flags.texts.get("exclude", ()),
        checksum=flags.text.get("checksum"),
        keep_git_dir=flags.booleans.get("keep-git-dir"),
        unpack=flags.booleans.get("unpack"),
    )


def _named_values(node: Node) -> tuple[tuple[str, str], ...]:
    flat = _at_least_one(node)
    pairs = tuple(zip(flat[::2], flat[1::2], strict=True))
    if not all(name for name, _ in pairs):
        raise ArgumentsError(f"{node.keyword} names can not be blank")
    return pairs


def _env(node: Node, _flags: FlagValues) -> ins.Env:
    return ins.Env(node, _named_values(node))


def _label(node: Node, _flags: FlagValues) -> ins.Label:
    return ins.Label(node, _named_values(node))


def _arg(node: Node, _flags: FlagValues) -> ins.Arg:
    pairs: list[tuple[str, str | None]] = []
    for word in _at_least_one(node):
        name, equals, value = word.partition("=")
        if not name:
            raise ArgumentsError("ARG names can not be blank")
        pairs.append((name, value if equals else None))
    return ins.Arg(node, tuple(pairs))


def _workdir(node: Node, _flags: FlagValues) -> ins.Workdir:
    return ins.Workdir(node, _exactly_one(node))


def _user(node: Node, _flags: FlagValues) -> ins.User:
    return ins.User(node, _exactly_one(node))


def _expose(node: Node, _flags: FlagValues) -> ins.Expose:
    return ins.Expose(node, _at_least_one(node))


def _volume(node: Node, _flags: FlagValues) -> ins.Volume:
    paths = tuple(path.strip(SPACE) for path in _at_least_one(node))
    if not all(paths):
        raise ArgumentsError("VOLUME specified can not be an empty string")
    return ins.Volume(node, paths)


def _entrypoint(node: Node, _flags: FlagValues) -> ins.Entrypoint:
    return ins.Entrypoint(node, _command(node, node.words))


def _cmd(node: Node, _flags: FlagValues) -> ins.Cmd:
    return ins.Cmd(node, _command(node, node.words))


def _shell(node: Node, _flags: FlagValues) -> ins.Shell:
    arguments = _at_least_one(node)
    if not node.json:
        raise ArgumentsError("SHELL requires the arguments to be in JSON form")
    return ins.Shell(node, arguments)


def _stopsignal(node: Node, _flags: FlagValues) -> ins.Stopsignal:
    return ins.Stopsignal(node, _exactly_one(node))


def _maintainer(node: Node, _flags: FlagValues) -> ins.Maintainer:
    return ins.Maintainer(node, _exactly_one(node))


def trigger_text(line: str, documents: tuple[Heredoc, ...]) -> str:
    """An instruction as an image's configuration keeps it for later."""
    return line + "".join(f"\n{document.content}{document.name}" for document in documents)


def _onbuild(node: Node, _flags: FlagValues) -> ins.Onbuild:
    child = node.child
    if child is None:
        raise ArgumentsError("ONBUILD requires at least one argument")
    if child.keyword == "ONBUILD":
        raise ArgumentsError("chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if child.keyword in _NOT_IN_ONBUILD:
        raise ArgumentsError(f"{child.keyword} isn't allowed as an ONBUILD trigger")
    return ins.Onbuild(node, _convert(child), trigger_text(child.line, child.heredocs))


def _healthcheck(node: Node, flags: FlagValues) -> ins.Healthcheck:
    kind, *words = _at_least_one(node)
    if kind.upper() == "NONE":
        if words:
            raise ArgumentsError("HEALTHCHECK NONE takes no arguments")
        return ins.Healthcheck(node, None)
    if kind.upper() != "CMD":
        raise ArgumentsError(f'unknown type "{kind}" in HEALTHCHECK (try CMD)')
    if not words:
        raise ArgumentsError("missing command after HEALTHCHECK CMD")
    durations = {name: _duration(name, flags.text) for name in _DURATIONS}
    return ins.Healthcheck(
        node,
        _command(node, tuple(words)),
        interval=durations["interval"],
        timeout=durations["timeout"],
        start_period=durations["start-period"],
        start_interval=durations["start-interval"],
        retries=_retries(flags.text.get("retries", "0")),
    )


_DURATIONS: Final = ("interval", "timeout", "start-period", "start-interval")


def _duration(name: str, flags: dict[str, str]) -> int:
    text = flags.get(name, "")
    if not text:
        return 0
    try:
        value = parse_duration(text)
    except ValueError as error:
        raise ArgumentsError(f"--{name}: {error}") from error
    if value and value < _MIN_DURATION:
        raise ArgumentsError(f'--{name} "{text}" cannot be less than 1ms')
    return value


def _retries(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", text):
        raise ArgumentsError(f'--retries "{text}" is not a number')
    value = int(text)
    if value < 0:
        raise ArgumentsError(f"--retries cannot be negative ({value})")
    return value


_BUILDERS: Final[dict[str, Callable[[Node, FlagValues], ins.Instruction]]] = {
    "ADD": _add,
    "ARG": _arg,
    "CMD": _cmd,
    "COPY": _copy,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "FROM": _from,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _onbuild,
    "RUN": _run,
    "SHELL": _shell,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
