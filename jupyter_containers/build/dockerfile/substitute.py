"""Resolving the variables of an instruction, in the fields where the language does so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_containers.build.dockerfile import instructions as ins
from jupyter_containers.build.dockerfile import mounts
from jupyter_containers.build.dockerfile.expand import Expander
from jupyter_containers.build.dockerfile.nodes import DEFAULT_ESCAPE, Heredoc
from jupyter_containers.build.dockerfile.words import ArgumentsError
from jupyter_containers.errors import DockerfileError
from jupyter_containers.records import replace

if TYPE_CHECKING:
    from collections.abc import Mapping


def expander_for(instruction: ins.Instruction, env: Mapping[str, str], *, escape: str = DEFAULT_ESCAPE) -> Expander:
    """An expander whose errors name the place of an instruction."""
    return Expander(env, escape=escape, source=instruction.source, text=instruction.text)


def expand_instruction(
    instruction: ins.Instruction,
    env: Mapping[str, str],
    *,
    escape: str = DEFAULT_ESCAPE,
    unset: list[str] | None = None,
) -> ins.Instruction:
    """The instruction with variables, quotes and escapes resolved (Dockerfile reference, "Environment replacement").

    ADD, ARG, COPY, ENV, EXPOSE, FROM, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR and the mounts of RUN. Commands are left
    to the shell, ONBUILD to the build it triggers, ``--from`` is never expanded.

    Parameters
    ----------
    env
        The variables as they were before the instruction.
    escape
        The escape character of the file.
    unset
        Gets the names that were referred to and are not set.

    Raises
    ------
    DockerfileError
        when a word is malformed, or a required variable is not set.
    """
    expander = expander_for(instruction, env, escape=escape)
    try:
        return _expand(instruction, expander)
    finally:
        if unset is not None:
            unset += [name for name in expander.unset if name not in unset]


def _expand(instruction: ins.Instruction, expander: Expander) -> ins.Instruction:  # noqa: PLR0911 - one per instruction
    word = expander.word
    match instruction:
        case ins.Copy() | ins.Add():
            return _expand_copy(instruction, expander)
        case ins.Env() | ins.Label():
            return replace(instruction, pairs=tuple((word(name), word(value)) for name, value in instruction.pairs))
        case ins.Arg():
            pairs = ((word(name), None if value is None else word(value)) for name, value in instruction.pairs)
            return replace(instruction, pairs=tuple(pairs))
        case ins.Expose():
            return replace(
                instruction, ports=tuple(port for text in instruction.ports for port in expander.words(text))
            )
        case ins.From():
            platform = _optional(instruction.platform, expander)
            return replace(instruction, image=word(instruction.image), platform=platform)
        case ins.Run():
            return replace(
                instruction, mounts=tuple(_mount(text, instruction, expander) for text in instruction.mounts)
            )
        case ins.Stopsignal():
            return replace(instruction, signal=word(instruction.signal))
        case ins.User():
            return replace(instruction, user=word(instruction.user))
        case ins.Volume():
            return replace(instruction, paths=tuple(word(path) for path in instruction.paths))
        case ins.Workdir():
            return replace(instruction, path=word(instruction.path))
        case ins.Cmd() | ins.Entrypoint() | ins.Healthcheck() | ins.Maintainer() | ins.Onbuild() | ins.Shell():
            return instruction


def _optional(text: str | None, expander: Expander) -> str | None:
    return None if text is None else expander.word(text)


def _expand_copy(instruction: ins.Copy | ins.Add, expander: Expander) -> ins.Copy | ins.Add:
    changed = replace(
        instruction,
        sources=tuple(expander.word(source) for source in instruction.sources),
        destination=expander.word(instruction.destination),
        heredocs=tuple(_document(document, expander) for document in instruction.heredocs),
        chown=_optional(instruction.chown, expander),
        chmod=_optional(instruction.chmod, expander),
        exclude=tuple(expander.word(pattern) for pattern in instruction.exclude),
    )
    if isinstance(changed, ins.Add):
        return replace(changed, checksum=_optional(changed.checksum, expander))
    return changed


def _document(document: Heredoc, expander: Expander) -> Heredoc:
    if not document.expand:
        return document
    # Tabs go first, so that those which a variable brings in stay.
    return replace(document, content=expander.document(document.text), strip_tabs=False)


def _mount(text: str, instruction: ins.Run, expander: Expander) -> str:
    try:
        return mounts.expand_mount(text, expander.word)
    except ArgumentsError as error:
        raise DockerfileError(str(error), source=instruction.source, text=instruction.text) from error
