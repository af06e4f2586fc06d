"""What is told at the end of a build that went well, and is probably not meant."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from jupyter_containers.build.dockerfile import instructions
from jupyter_containers.build.dockerfile.stages import PROXY_ARGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jupyter_containers.build.checks import Finding
    from jupyter_containers.build.dockerfile import Dockerfile
    from jupyter_containers.build.dockerfile.nodes import Heredoc

_OWN: Final = ("BUILDKIT_", "SOURCE_DATE_EPOCH")
"""How arguments begin that steer the build itself, and need no ARG."""


def advice(dockerfile: Dockerfile, findings: Sequence[Finding], build_args: Iterable[str]) -> Iterator[str]:
    """How many checks found something; build arguments that no ARG asks for; escapes that are probably not meant."""
    if findings:
        told = "1 build check warns" if len(findings) == 1 else f"{len(findings)} build checks warn"
        yield f"{told}; 'build --check' says of what"
    asked = {name for item in dockerfile.instructions if isinstance(item, instructions.Arg) for name, _ in item.pairs}
    unused = sorted(name for name in {*build_args} - asked - PROXY_ARGS if not name.startswith(_OWN))
    if unused:
        yield f"no ARG of {dockerfile.name} takes --build-arg {', '.join(unused)}"
    for item in dockerfile.instructions:
        if isinstance(item, instructions.Copy | instructions.Add):
            yield from _escapes(item.heredocs, item.source.first, dockerfile.escape)


def _escapes(documents: Iterable[Heredoc], line: int, escape: str) -> Iterator[str]:
    r"""A script's ``\n`` is ``n`` in a here-document that is expanded, which is seen when it runs at the earliest."""
    for document in documents:
        pairs = re.finditer(rf"{re.escape(escape)}(.)", document.content) if document.expand else ()
        found = next((pair for pair in pairs if pair[1].isalnum()), None)
        if found:
            yield (
                f"line {line}: of {found[0]} in <<{document.name} only {found[1]} is kept; "
                f"<<'{document.name}' keeps the text as it is, variables too"
            )
