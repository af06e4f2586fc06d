"""What is told at the end of a build that went well, and is probably not meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jupyter_containers.build.dockerfile import instructions
from jupyter_containers.build.dockerfile.stages import PROXY_ARGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jupyter_containers.build.checks import Finding
    from jupyter_containers.build.dockerfile import Dockerfile

_OWN: Final = ("BUILDKIT_", "SOURCE_DATE_EPOCH")
"""How arguments begin that steer the build itself, and need no ARG."""


def advice(dockerfile: Dockerfile, findings: Sequence[Finding], build_args: Iterable[str]) -> Iterator[str]:
    """How many checks found something, and the build arguments that no ARG asks for."""
    if findings:
        told = "1 build check warns" if len(findings) == 1 else f"{len(findings)} build checks warn"
        yield f"{told}; 'build --check' says of what"
    asked = {name for item in dockerfile.instructions if isinstance(item, instructions.Arg) for name, _ in item.pairs}
    unused = sorted(name for name in {*build_args} - asked - PROXY_ARGS if not name.startswith(_OWN))
    if unused:
        yield f"no ARG of {dockerfile.name} takes --build-arg {', '.join(unused)}"
