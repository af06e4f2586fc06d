"""What of the language the builder carries out so far; everything else is refused by name before a build starts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jupyter_containers.build.dockerfile import instructions as ins
from jupyter_containers.errors import DockerfileError, InvalidInput
from jupyter_containers.oci.names import Platform

if TYPE_CHECKING:
    from collections.abc import Iterable

_OCTAL = re.compile(r"[0-7]{1,4}")
_URL = re.compile(r"https?://", re.IGNORECASE)
_GIT = re.compile(r"(?:git|ssh|git\+ssh)://|git@[^:/]+:|[^/]+@[^/:]+:.*\.git", re.IGNORECASE)


def unsupported(instruction: ins.Instruction, *, platform: Platform | None = None) -> str | None:
    """What an instruction asks for that this version cannot do, or None.

    Ask again for the expanded instruction: what a variable holds is known only then.

    Parameters
    ----------
    platform
        The platform that is built for; given it, ``FROM --platform`` of another one is refused.
    """
    match instruction:
        case ins.From():
            return _platform(instruction, platform)
        case ins.Run():
            return _run(instruction)
        case ins.Copy():
            return _copy(instruction)
        case ins.Add():
            return _add(instruction)
        case ins.Onbuild():
            return unsupported(instruction.instruction, platform=platform)
        case _:
            return None


def require_supported(instructions: Iterable[ins.Instruction], *, platform: Platform | None = None) -> None:
    """Refuse the first instruction that cannot be carried out.

    Raises
    ------
    DockerfileError
        that names the feature and the line.
    """
    for instruction in instructions:
        missing = unsupported(instruction, platform=platform)
        if missing is not None:
            raise DockerfileError(
                f"{missing} is not supported by this version", source=instruction.source, text=instruction.text
            )


def _platform(instruction: ins.From, platform: Platform | None) -> str | None:
    wanted = instruction.platform
    if wanted is None or platform is None or "$" in wanted:
        return None
    try:
        same = Platform.parse(wanted).matches(platform)
    except InvalidInput:
        same = False
    return None if same else f"FROM --platform={wanted} on {platform}"


def _run(instruction: ins.Run) -> str | None:
    if instruction.mounts:
        return "RUN --mount"
    if instruction.devices:
        return "RUN --device"
    if instruction.network != "default":
        return f"RUN --network={instruction.network}"
    if instruction.security != "sandbox":
        return f"RUN --security={instruction.security}"
    return None


def _copy(instruction: ins.Copy) -> str | None:
    if instruction.link:
        return "COPY --link"
    if instruction.parents:
        return "COPY --parents"
    if instruction.exclude:
        return "COPY --exclude"
    return _chmod("COPY", instruction.chmod)


def _add(instruction: ins.Add) -> str | None:
    flags = {
        "--link": instruction.link,
        "--exclude": bool(instruction.exclude),
        "--checksum": instruction.checksum is not None,
        "--keep-git-dir": instruction.keep_git_dir is not None,
        "--unpack": instruction.unpack is not None,
    }
    for flag, given in flags.items():
        if given:
            return f"ADD {flag}"
    for source in instruction.sources:
        if _GIT.match(source) or (_URL.match(source) and source.partition("#")[0].endswith(".git")):
            return "ADD of a git repository"
        if _URL.match(source):
            return "ADD of a URL"
    return _chmod("ADD", instruction.chmod)


def _chmod(keyword: str, mode: str | None) -> str | None:
    if mode is None or "$" in mode or _OCTAL.fullmatch(mode):
        return None
    return f"{keyword} --chmod={mode} (only octal modes are)"
