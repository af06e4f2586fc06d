"""What of the language the builder does not carry out: refused by name before a build starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_containers.build.dockerfile import instructions as ins
from jupyter_containers.errors import DockerfileError, InvalidInput
from jupyter_containers.oci.names import Platform

if TYPE_CHECKING:
    from collections.abc import Iterable


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
            return "RUN --device" if instruction.devices else None
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
