"""Stages: which there are, what they start from, what they take from each other, and which a target needs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from jupyter_containers.build.dockerfile import instructions as ins
from jupyter_containers.build.dockerfile import mounts
from jupyter_containers.build.dockerfile.substitute import expand_instruction, expander_for
from jupyter_containers.errors import DockerfileError, InvalidInput, UsageError
from jupyter_containers.oci.names import Platform
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
PROXY_ARGS: Final = frozenset({*_PROXIES, *(name.lower() for name in _PROXIES)})
"""Build arguments that need no declaration, and count for neither the cache nor the history."""

BUILTIN_ARGS: Final = frozenset(
    {
        "BUILDKIT_BUILD_NAME",
        "BUILDKIT_CACHE_MOUNT_NS",
        "BUILDKIT_CONTEXT_KEEP_GIT_DIR",
        "BUILDKIT_DOCKERFILE_CHECK",
        "BUILDKIT_INLINE_CACHE",
        "BUILDKIT_MULTI_PLATFORM",
        "BUILDKIT_SANDBOX_HOSTNAME",
        "BUILDKIT_SYNTAX",
        "SOURCE_DATE_EPOCH",
    }
)
"""Build arguments that steer the builder itself and need no declaration either."""

_DEFAULT_TARGET = "default"
_INDEX = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage.

    Parameters
    ----------
    index
        Its number, from 0.
    name
        Its name in lower case, where it has one.
    start
        Its FROM with variables resolved.
    base_stage
        The number of the stage it starts from, or None: then ``start.image`` names an image, or ``scratch``.
    platform
        What ``FROM --platform`` asks for.
    instructions
        What follows FROM, as written.
    needs
        The numbers of the stages it starts from or takes files from.
    """

    index: int
    name: str | None
    start: ins.From
    base_stage: int | None
    platform: Platform | None
    instructions: tuple[ins.Instruction, ...]
    needs: tuple[int, ...]

    @property
    def title(self) -> str:
        """What people call it: its name, or its number."""
        return self.name or str(self.index)


@dataclass(frozen=True, slots=True)
class StagePlan:
    """All stages of a file, and what a target needs of them.

    Parameters
    ----------
    stages
        In the order of the file.
    target
        The stage to build.
    order
        The stages that the target needs, each after those it needs itself; the target is the last.
    global_args
        The arguments declared before the first FROM and the automatic ones, which ``ARG name`` brings into a stage.
    escape
        The escape character of the file.
    unset
        Names that FROM and the global ARG referred to and that are not set.
    """

    stages: tuple[Stage, ...]
    target: Stage
    order: tuple[Stage, ...]
    global_args: Mapping[str, str]
    escape: str
    unset: tuple[str, ...] = ()

    @property
    def unused(self) -> tuple[Stage, ...]:
        """The stages that the target does not need."""
        needed = {stage.index for stage in self.order}
        return tuple(stage for stage in self.stages if stage.index not in needed)

    def source(self, name: str, instruction: ins.Instruction) -> Stage | str:
        """The stage that ``--from`` names, by name or number, or the name of an image.

        Raises
        ------
        DockerfileError
            when it is a number and there is no such stage.
        """
        index = _find_source(name, instruction, [stage.name for stage in self.stages])
        return name if index is None else self.stages[index]

    def needed_for(self, indexes: Iterable[int]) -> tuple[Stage, ...]:
        """The stages to build for some stages, these included, in an order that works."""
        order = _build_order(indexes, [stage.needs for stage in self.stages])
        return tuple(self.stages[index] for index in order)


def platform_args(target: Platform, build: Platform, *, stage: str | None = None) -> dict[str, str]:
    """The automatic global arguments (Dockerfile reference, "Automatic platform ARGs in the global scope")."""
    values: dict[str, str] = {}
    for prefix, platform in (("BUILD", build), ("TARGET", target)):
        values[f"{prefix}PLATFORM"] = str(platform)
        values[f"{prefix}OS"] = platform.os
        values[f"{prefix}ARCH"] = platform.architecture
        values[f"{prefix}VARIANT"] = platform.variant or ""
    values["TARGETSTAGE"] = stage or _DEFAULT_TARGET
    return values


def argument_value(
    name: str, default: str | None, *, build_args: Mapping[str, str], global_args: Mapping[str, str]
) -> str | None:
    """The value that ``ARG name`` or ``ARG name=default`` gives inside a stage, or None where it gives none."""
    if name in build_args:
        return build_args[name]
    return global_args.get(name) if default is None else default


def plan_stages(
    instructions: Sequence[ins.Instruction],
    *,
    escape: str,
    target: str | None = None,
    build_args: Mapping[str, str] | None = None,
    platform: Platform,
    build_platform: Platform | None = None,
) -> StagePlan:
    """Split a Dockerfile into stages and find out which of them a target needs.

    Parameters
    ----------
    instructions
        The whole file.
    escape
        Its escape character.
    target
        The stage to build, by name or number; the last one by default.
    build_args
        Values from outside for ARG.
    platform
        What is built for.
    build_platform
        What builds; the same by default.

    Raises
    ------
    DockerfileError
        when the file does not start with FROM, a stage starts from nothing, stages need each other in a circle, or
        ``--from`` has the number of no stage.
    UsageError
        when there is no stage of the target's name.
    """
    given = build_args or {}
    automatic = platform_args(platform, build_platform or platform, stage=target)
    scope = {name: given.get(name, value) for name, value in automatic.items()}
    unset: list[str] = []
    first = _first_stage(instructions)
    for instruction in instructions[:first]:
        _declare_globals(instruction, scope, given, escape, unset)
    stages = _Stages(scope, escape, unset).split(instructions[first:])
    _refuse_circles(stages)
    wanted = _find_target(stages, target)
    order = _build_order([wanted.index], [stage.needs for stage in stages])
    chosen = tuple(stages[index] for index in order)
    return StagePlan(tuple(stages), wanted, chosen, scope, escape, tuple(unset))


# -- what stands before the first FROM ---------------------------------------------------------------------------------


def _first_stage(instructions: Sequence[ins.Instruction]) -> int:
    for index, instruction in enumerate(instructions):
        if isinstance(instruction, ins.From):
            return index
        if not isinstance(instruction, ins.Arg):
            raise DockerfileError(
                f"no build stage in current context: {instruction.keyword} stands before the first FROM",
                source=instruction.source,
                text=instruction.text,
                hint="start the file with FROM; only ARG may come before it",
            )
    last = instructions[-1]
    raise DockerfileError("no build stage: there is no FROM", source=last.source, text=last.text)


def _declare_globals(
    instruction: ins.Instruction, scope: dict[str, str], given: Mapping[str, str], escape: str, unset: list[str]
) -> None:
    assert isinstance(instruction, ins.Arg)
    expander = expander_for(instruction, scope, escape=escape)
    for name, default in instruction.pairs:
        if name in given:
            scope[name] = given[name]
        elif default is not None:
            scope[name] = expander.word(default)
    unset += [name for name in expander.unset if name not in unset]


# -- stages ------------------------------------------------------------------------------------------------------------


class _Stages:
    """Splits what follows the first FROM."""

    def __init__(self, scope: Mapping[str, str], escape: str, unset: list[str]) -> None:
        self._scope = scope
        self._escape = escape
        self._unset = unset

    def split(self, instructions: Sequence[ins.Instruction]) -> list[Stage]:
        starts = [index for index, item in enumerate(instructions) if isinstance(item, ins.From)]
        bodies = [
            tuple(instructions[start + 1 : end])
            for start, end in zip(starts, [*starts[1:], len(instructions)], strict=True)
        ]
        names = [start.name for start in (instructions[at] for at in starts) if isinstance(start, ins.From)]
        stages: list[Stage] = []
        for index, (at, body) in enumerate(zip(starts, bodies, strict=True)):
            start = self._start(instructions[at])
            base = _latest(names[:index], start.image)
            inherited = stages[base].instructions if base is not None else ()
            needs = _needs(base, [*_triggers(inherited), *body], names)
            stages.append(Stage(index, start.name, start, base, _platform(start), body, needs))
        return stages

    def _start(self, instruction: ins.Instruction) -> ins.From:
        start = expand_instruction(instruction, self._scope, escape=self._escape, unset=self._unset)
        assert isinstance(start, ins.From)
        if not start.image:
            assert isinstance(instruction, ins.From)
            raise DockerfileError(
                f"base name ({instruction.image}) should not be blank",
                source=start.source,
                text=start.text,
                hint="FROM sees only ARGs that stand before the first FROM; give them a default",
            )
        return start


def _platform(start: ins.From) -> Platform | None:
    if not start.platform:
        return None
    try:
        return Platform.parse(start.platform)
    except InvalidInput as error:
        raise DockerfileError(error.message, source=start.source, text=start.text, hint=error.hint) from error


def _latest(names: Sequence[str | None], name: str) -> int | None:
    """The number of the last stage of that name."""
    found = [index for index, known in enumerate(names) if known == name.lower()]
    return found[-1] if found else None


def _triggers(inherited: Iterable[ins.Instruction]) -> Iterator[ins.Instruction]:
    for instruction in inherited:
        if isinstance(instruction, ins.Onbuild):
            yield instruction.instruction


def _needs(base: int | None, body: Iterable[ins.Instruction], names: Sequence[str | None]) -> tuple[int, ...]:
    needs = [] if base is None else [base]
    for instruction in body:
        for name in _sources(instruction):
            index = _find_source(name, instruction, names)
            if index is not None and index not in needs:
                needs.append(index)
    return tuple(needs)


def _sources(instruction: ins.Instruction) -> list[str]:
    if isinstance(instruction, ins.Copy):
        return [instruction.from_] if instruction.from_ else []
    if isinstance(instruction, ins.Run):
        return [origin for origin in map(mounts.mount_origin, instruction.mounts) if origin]
    return []


def _find_source(name: str, instruction: ins.Instruction, names: Sequence[str | None]) -> int | None:
    if "$" in name:
        raise DockerfileError(
            f"variable expansion is not supported for --from ({name})",
            source=instruction.source,
            text=instruction.text,
            hint="define a stage with FROM and an ARG of the global scope, and name that stage",
        )
    if not _INDEX.fullmatch(name):
        return _latest(names, name)
    if int(name) >= len(names):
        raise DockerfileError(
            f"invalid stage index {name}: the last stage is number {len(names) - 1}",
            source=instruction.source,
            text=instruction.text,
        )
    return int(name)


def _find_target(stages: Sequence[Stage], target: str | None) -> Stage:
    if not target:
        return stages[-1]
    index = _latest([stage.name for stage in stages], target)
    if index is None and _INDEX.fullmatch(target) and int(target) < len(stages):
        index = int(target)
    if index is None:
        known = ", ".join(stage.title for stage in stages)
        raise UsageError(f'target stage "{target}" could not be found', hint=f"the file has the stages {known}")
    return stages[index]


# -- order -------------------------------------------------------------------------------------------------------------


def _build_order(wanted: Iterable[int], needs: Sequence[Sequence[int]]) -> list[int]:
    """Depth first, without recursion: a file may have thousands of stages."""
    order: dict[int, None] = {}
    pending = [(index, False) for index in reversed(list(wanted))]
    while pending:
        index, ready = pending.pop()
        if ready:
            order.setdefault(index)
        elif index not in order:
            pending.append((index, True))
            pending.extend((other, False) for other in reversed(needs[index]))
    return list(order)


def _refuse_circles(stages: Sequence[Stage]) -> None:
    """Take stages away whose needs are gone; what remains at the end is in a circle or needs one that is."""
    left = {stage.index: set(stage.needs) for stage in stages}
    while free := [index for index, needs in left.items() if not needs & left.keys()]:
        for index in free:
            del left[index]
    if not left:
        return
    trail, index = [], min(left)
    while index not in trail:
        trail.append(index)
        index = min(left[index] & left.keys())
    stage = stages[min(trail[trail.index(index) :])]
    raise DockerfileError(
        f"circular dependency detected on stage: {stage.title}", source=stage.start.source, text=stage.start.text
    )
