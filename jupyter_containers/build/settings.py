"""The instructions that change how containers of the image are started. Pure functions on ``config``."""

from __future__ import annotations

import posixpath
import re
import signal
from typing import TYPE_CHECKING

import msgspec

from jupyter_containers.build.dockerfile import instructions
from jupyter_containers.errors import DockerfileError
from jupyter_containers.oci.image_spec import ContainerConfig, Healthcheck

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jupyter_containers.build.dockerfile import Instruction

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHELL = ["/bin/sh", "-c"]
MAX_PORT = 65535

_PORT = re.compile(
    r"(?:.*:)?(?P<low>[0-9]{1,5})(?:-(?P<high>[0-9]{1,5}))?(?:/(?P<protocol>tcp|udp|sctp))?", re.IGNORECASE
)
_REALTIME = re.compile(r"RTM(?:IN\+|AX-)([0-9]{1,2})")


def split_variable(text: str) -> tuple[str, str]:
    """``NAME=value`` as a pair."""
    name, _equals, value = text.partition("=")
    return name, value


def set_variables(env: Sequence[str] | None, new: Iterable[tuple[str, str]]) -> list[str]:
    """The variables with some set: each in its place where it was set before, else at the end."""
    pairs = dict(split_variable(text) for text in env or [])
    pairs.update(new)
    return [f"{name}={value}" for name, value in pairs.items()]


def absolute(directory: str, path: str, *, keep_slash: bool = True) -> str:
    """A path of an instruction, taken from the working directory and cleaned.

    ``keep_slash``: a path that says it is a directory (``x/``, ``.``) ends with a slash.
    """
    whole = posixpath.normpath(posixpath.join("/", directory, path)).replace("//", "/")
    if keep_slash and (path.endswith("/") or posixpath.basename(path) in {"", ".", ".."}) and whole != "/":
        return f"{whole}/"
    return whole


def shell_of(settings: ContainerConfig) -> list[str]:
    """What shell forms are handed to."""
    return list(settings.shell or DEFAULT_SHELL)


def command_of(command: instructions.Command, settings: ContainerConfig) -> list[str]:
    """The arguments of CMD and ENTRYPOINT."""
    if isinstance(command, instructions.ExecForm):
        return list(command.arguments)
    return [*shell_of(settings), command.text]


def apply(settings: ContainerConfig, instruction: Instruction, *, cmd_given: bool) -> ContainerConfig:
    """The settings after an instruction whose variables are resolved.

    ``cmd_given``: whether this stage has had a CMD; otherwise ENTRYPOINT removes the inherited one.

    Raises
    ------
    DockerfileError
        for a port or a signal that is none.
    """
    return msgspec.structs.replace(settings, **_changes(settings, instruction, cmd_given=cmd_given))


def _changes(  # noqa: PLR0911 - one per instruction
    settings: ContainerConfig, instruction: Instruction, *, cmd_given: bool
) -> Mapping[str, object]:
    match instruction:
        case instructions.Env():
            return {"env": set_variables(settings.env, instruction.pairs)}
        case instructions.Label():
            return {"labels": {**(settings.labels or {}), **dict(instruction.pairs)}}
        case instructions.Cmd():
            return {"cmd": command_of(instruction.command, settings) or None}
        case instructions.Entrypoint():
            entrypoint = command_of(instruction.command, settings) or None
            return {"entrypoint": entrypoint, "cmd": settings.cmd if cmd_given else None}
        case instructions.Expose():
            return {"exposed_ports": {**(settings.exposed_ports or {}), **{port: {} for port in ports(instruction)}}}
        case instructions.Volume():
            return {"volumes": {**(settings.volumes or {}), **_volumes(instruction)}}
        case instructions.User():
            return {"user": instruction.user}
        case instructions.Shell():
            return {"shell": list(instruction.arguments)}
        case instructions.Stopsignal():
            return {"stop_signal": _signal(instruction)}
        case instructions.Healthcheck():
            return {"healthcheck": health_of(instruction)}
        case _:
            raise _refused(instruction, f"{instruction.keyword} changes no settings")


def _volumes(instruction: instructions.Volume) -> dict[str, dict[str, object]]:
    if "" in instruction.paths:
        raise _refused(instruction, "VOLUME specified can not be an empty string")
    return {path: {} for path in instruction.paths}


def _signal(instruction: instructions.Stopsignal) -> str:
    if not is_signal(instruction.signal):
        raise _refused(instruction, f"invalid signal: {instruction.signal}")
    return instruction.signal


def ports(instruction: instructions.Expose) -> list[str]:
    """The ports of EXPOSE as the configuration names them: ``80/tcp``, ranges written out."""
    found: dict[str, None] = {}
    for text in instruction.ports:
        match = _PORT.fullmatch(text)
        low = int(match["low"]) if match else -1
        high = int(match["high"] or low) if match else -1
        if match is None or not 0 <= low <= high <= MAX_PORT:
            raise _refused(instruction, f"invalid port: {text}", hint="write it as 8080, 8080/udp or 8000-8010")
        protocol = (match["protocol"] or "tcp").lower()
        found.update((f"{port}/{protocol}", None) for port in range(low, high + 1))
    return list(found)


def is_signal(text: str) -> bool:
    """Whether STOPSIGNAL takes it: a number, a name with or without ``SIG``, ``SIGRTMIN+n`` or ``SIGRTMAX-n``."""
    if text.isdigit():
        return 1 <= int(text) <= signal.SIGRTMAX
    name = text.upper().removeprefix("SIG")
    match = _REALTIME.fullmatch(name)
    if match:
        return int(match[1]) <= signal.SIGRTMAX - signal.SIGRTMIN
    return f"SIG{name}" in signal.Signals.__members__


def health_of(instruction: instructions.Healthcheck) -> Healthcheck:
    """The health check as the configuration has it."""
    command = instruction.command
    if command is None:
        return Healthcheck(test=["NONE"])
    shell = isinstance(command, instructions.ShellForm)
    arguments = [command.text] if isinstance(command, instructions.ShellForm) else list(command.arguments)
    return Healthcheck(
        test=["CMD-SHELL" if shell else "CMD", *arguments],
        interval=instruction.interval,
        timeout=instruction.timeout,
        start_period=instruction.start_period,
        start_interval=instruction.start_interval,
        retries=instruction.retries,
    )


def _refused(instruction: Instruction, message: str, *, hint: str | None = None) -> DockerfileError:
    return DockerfileError(message, source=instruction.source, text=instruction.text, hint=hint)
