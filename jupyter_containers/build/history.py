"""What the history of an image says about each instruction, as Docker's builder words it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from jupyter_containers.build import settings as of
from jupyter_containers.build.dockerfile import instructions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jupyter_containers.build.dockerfile import Instruction
    from jupyter_containers.oci.image_spec import ContainerConfig, Healthcheck

SECOND = 1_000_000_000

MARK = " # buildkit"
"""Listings of other tools look for it to tell a command from a classic builder's ``#(nop)``."""


def from_text(start: instructions.From) -> str:
    """A FROM as steps show it."""
    return f"FROM {start.image}" + (f" AS {start.name}" if start.name else "")


def shown(line: str, instruction: Instruction) -> str:
    """An instruction as steps show it: on one line, with the first line of a script."""
    keyword, _space, rest = line.partition(" ")
    text = f"{keyword.upper()} {rest.strip()}"
    documents = instruction.heredocs if isinstance(instruction, instructions.Run) else ()
    if documents:
        first, *more = documents[0].text.strip().splitlines() or [""]
        text += f" ({first}{'...' if more else ''})"
    return text


def run_text(argv: Sequence[str], arguments: Sequence[tuple[str, str]]) -> str:
    """A RUN: the build arguments that were in scope, counted, then the command."""
    scope = [f"|{len(arguments)}", *(f"{name}={value}" for name, value in arguments)] if arguments else []
    return f"RUN {' '.join([*scope, *argv])}{MARK}"


def copy_text(instruction: instructions.Copy | instructions.Add) -> str:
    """A COPY or ADD."""
    words = [instruction.keyword]
    words += ["--parents"] if isinstance(instruction, instructions.Copy) and instruction.parents else []
    words += [f"--{name}={value}" for name in ("chown", "chmod") if (value := getattr(instruction, name))]
    words += [*instruction.sources, *(f"<<{document.name}" for document in instruction.heredocs)]
    return f"{' '.join([*words, instruction.destination])}{MARK}"


def text_of(instruction: Instruction, settings: ContainerConfig) -> str:
    """An instruction that changes settings only; ``settings`` are those after it."""
    return f"{instruction.keyword} {_arguments(instruction, settings)}"


def _arguments(instruction: Instruction, settings: ContainerConfig) -> str:  # noqa: PLR0911 - one per instruction
    match instruction:
        case instructions.Env() | instructions.Label():
            return " ".join(f"{name}={value}" for name, value in instruction.pairs)
        case instructions.Cmd():
            return _quoted(settings.cmd or [])
        case instructions.Entrypoint():
            return _quoted(settings.entrypoint or [])
        case instructions.Expose():
            return f"map[{' '.join(f'{port}:{{}}' for port in sorted(of.ports(instruction)))}]"
        case instructions.Volume():
            return f"[{' '.join(instruction.paths)}]"
        case instructions.Shell():
            return f"[{' '.join(instruction.arguments)}]"
        case instructions.User():
            return instruction.user
        case instructions.Stopsignal():
            return instruction.signal
        case instructions.Healthcheck():
            return _health(of.health_of(instruction))
        case instructions.Maintainer():
            return instruction.name
        case _:
            return instruction.line.partition(" ")[2]


def _quoted(words: Iterable[str]) -> str:
    return f"[{' '.join(json.dumps(word, ensure_ascii=False) for word in words)}]"


def _health(check: Healthcheck) -> str:
    return (
        f"{{Test:[{' '.join(check.test)}] Interval:{duration(check.interval)} Timeout:{duration(check.timeout)} "
        f"StartPeriod:{duration(check.start_period)} StartInterval:{duration(check.start_interval)} "
        f"Retries:{check.retries}}}"
    )


def duration(nanoseconds: int) -> str:
    """A duration as Go prints it: ``1m30s``, ``500ms``, ``0s``."""
    if nanoseconds < SECOND:
        for unit, size in (("ms", 1_000_000), ("µs", 1_000), ("ns", 1)):
            if nanoseconds >= size:
                return f"{_trimmed(nanoseconds, size)}{unit}"
        return "0s"
    minutes, rest = divmod(nanoseconds, 60 * SECOND)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{_trimmed(rest, SECOND)}s"
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds


def _trimmed(number: int, size: int) -> str:
    whole, rest = divmod(number, size)
    return f"{whole}.{str(rest).zfill(len(str(size)) - 1)}".rstrip("0").rstrip(".") if rest else str(whole)
