"""From a Dockerfile to a graph: scopes of variables, settings of the image, history, and the steps that make layers.

Instructions that only change settings (ENV, LABEL, CMD ...) are folded in here; RUN, COPY, ADD and WORKDIR become
vertices. Nothing is read or run: images come from a function that knows them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from jupyter_containers.build import history, settings
from jupyter_containers.build.dockerfile import (
    Dockerfile,
    expand_instruction,
    instructions,
    parse_trigger,
    require_supported,
)
from jupyter_containers.build.dockerfile.stages import PROXY_ARGS, Stage, StagePlan, argument_value, plan_stages
from jupyter_containers.build.graph import CopyFiles, Graph, InlineFile, MakeDirectory, Place, Run, Source
from jupyter_containers.build.interfaces import ScriptFile
from jupyter_containers.errors import DockerfileError
from jupyter_containers.images.model import parse_time
from jupyter_containers.images.mutate import empty_config
from jupyter_containers.oci.image_spec import ContainerConfig

if TYPE_CHECKING:
    from jupyter_containers.build.dockerfile import Instruction
    from jupyter_containers.build.interfaces import ResolvedImage
    from jupyter_containers.build.options import BuildOptions
    from jupyter_containers.oci.image_spec import ImageConfig
    from jupyter_containers.oci.names import Platform

SCRATCH = "scratch"
SCRIPTS = "/dev/pipes"

Resolve: TypeAlias = Callable[[str, "Instruction"], "ResolvedImage"]
"""The image of a name; the instruction that names it is for messages."""


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the history: ``vertex`` made the layer, None where there is none."""

    created_by: str
    vertex: str | None


@dataclass(slots=True)
class StageState:
    """What is known at a point of a stage.

    ``base`` is the configuration of the image it all began with; ``env`` the variables of the image, ``arguments``
    those of ARG (None: declared without a value); ``top`` the vertex that holds the files.
    """

    base: ImageConfig
    timestamp: int
    top: str
    settings: ContainerConfig
    author: str | None = None
    events: list[Event] = field(default_factory=list)
    arguments: dict[str, str | None] = field(default_factory=dict)
    cmd_given: bool = False

    @property
    def env(self) -> dict[str, str]:
        """The variables of the image."""
        return dict(settings.split_variable(text) for text in self.settings.env or [])

    @property
    def scope(self) -> dict[str, str]:
        """What ``$name`` means: ENV shadows ARG (Dockerfile reference, "Using ARG variables")."""
        return {**{name: value for name, value in self.arguments.items() if value is not None}, **self.env}

    def change(self, **changes: object) -> None:
        """Replace some of the settings."""
        self.settings = msgspec.structs.replace(self.settings, **changes)


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """What to run, and what the image will be: ``target`` holds its files, the rest its configuration."""

    graph: Graph
    target: str
    state: StageState
    stages: StagePlan


def plan_build(
    stages: StagePlan, options: BuildOptions, *, platform: Platform, resolve: Resolve, epoch: int | None = None
) -> BuildPlan:
    """Plan a build; see the module.

    Parameters
    ----------
    stages
        From :func:`read_stages`.
    epoch
        The time of everything that is made, in seconds; None: that of the base image of each stage, 0 for scratch.

    Raises
    ------
    DockerfileError
        for what cannot be understood or carried out, with its line.
    """
    return _Planner(stages, options, platform, resolve, epoch).run()


def read_stages(dockerfile: Dockerfile, options: BuildOptions, platform: Platform) -> StagePlan:
    """The stages of a Dockerfile, after a check that it asks for nothing that cannot be done.

    Raises
    ------
    DockerfileError
        with what cannot be done and its line.
    UsageError
        when the target is none of the stages.
    """
    require_supported(dockerfile.instructions, platform=platform)
    stages = plan_stages(
        dockerfile.instructions,
        escape=dockerfile.escape,
        target=options.target,
        build_args=options.build_args,
        platform=platform,
    )
    require_supported((stage.start for stage in stages.order), platform=platform)
    return stages


def images_named(stages: StagePlan) -> list[tuple[str, Instruction, Stage | None]]:
    """The images a target needs: name, who names it, and the stage that begins with it (None: COPY --from)."""
    found: list[tuple[str, Instruction, Stage | None]] = []
    for stage in stages.order:
        if stage.base_stage is None and stage.start.image != SCRATCH:
            found.append((stage.start.image, stage.start, stage))
        for instruction in stage.instructions:
            if isinstance(instruction, instructions.Copy) and instruction.from_:
                origin = stages.source(instruction.from_, instruction)
                if isinstance(origin, str):
                    found.append((origin, instruction, None))
    return found


def makes_layer(instruction: Instruction) -> bool:
    """Whether an instruction is a step of its own."""
    return isinstance(instruction, instructions.Run | instructions.Copy | instructions.Add | instructions.Workdir)


def count_steps(stage: Stage, triggers: int = 0) -> int:
    """The steps of a stage: FROM, unless it continues another stage, and what makes layers."""
    return (stage.base_stage is None) + triggers + sum(map(makes_layer, stage.instructions))


class _Planner:
    def __init__(
        self, stages: StagePlan, options: BuildOptions, platform: Platform, resolve: Resolve, epoch: int | None
    ) -> None:
        self._stages = stages
        self._options = options
        self._platform = platform
        self._resolve = resolve
        self._epoch = epoch
        self._graph = Graph()
        self._states: dict[int, StageState] = {}
        self._stage = stages.target
        self._index = 0
        self._total = 0

    def run(self) -> BuildPlan:
        for stage in self._stages.order:
            self._states[stage.index] = self._plan_stage(stage)
        state = self._states[self._stages.target.index]
        return BuildPlan(self._graph, state.top, state, self._stages)

    # -- stages ------------------------------------------------------------------------------------------------------

    def _plan_stage(self, stage: Stage) -> StageState:
        self._stage, self._index, self._total = stage, 0, 0
        state = self._begin(stage)
        triggers = [
            parse_trigger(text, name=f"ONBUILD of {stage.start.image}") for text in state.settings.on_build or []
        ]
        require_supported(triggers, platform=self._platform)
        self._total = count_steps(stage, sum(map(makes_layer, triggers)))
        self._index = int(stage.base_stage is None)
        state.change(on_build=None)
        for instruction in (*triggers, *stage.instructions):
            expanded = expand_instruction(instruction, state.scope, escape=self._stages.escape)
            require_supported([expanded], platform=self._platform)
            self._apply(state, expanded)
        return state

    def _begin(self, stage: Stage) -> StageState:
        if stage.base_stage is not None:
            below = self._states[stage.base_stage]
            return StageState(
                below.base,
                below.timestamp,
                below.top,
                below.settings,
                below.author,
                list(below.events),
                dict(below.arguments),
            )
        if stage.start.image == SCRATCH:
            base, source = empty_config(self._platform), Source(SCRATCH, ())
        else:
            image = self._resolve(stage.start.image, stage.start)
            base, source = image.config, Source(stage.start.image, image.layers)
        created = parse_time(base.created)
        timestamp = self._epoch if self._epoch is not None else int(created.timestamp()) if created else 0
        total = count_steps(stage)
        place = Place(stage.title, 1, total, stage.start.source, history.from_text(stage.start))
        top = self._graph.add(source, (), place)
        state = StageState(base, max(timestamp, 0), top, base.config or ContainerConfig(), base.author)
        if "PATH" not in state.env:
            state.change(env=settings.set_variables(state.settings.env, [("PATH", settings.DEFAULT_PATH)]))
        if not state.settings.working_dir and stage.start.image == SCRATCH:
            state.change(working_dir="/")
        return state

    # -- instructions ------------------------------------------------------------------------------------------------

    def _apply(self, state: StageState, instruction: Instruction) -> None:
        match instruction:
            case instructions.Run():
                self._run(state, instruction)
            case instructions.Copy() | instructions.Add():
                self._copy(state, instruction)
            case instructions.Workdir():
                self._workdir(state, instruction)
            case instructions.Arg():
                self._arg(state, instruction)
            case instructions.Onbuild():
                state.change(on_build=[*(state.settings.on_build or []), instruction.trigger])
            case instructions.Maintainer():
                state.author = instruction.name
                state.events.append(Event(history.text_of(instruction, state.settings), None))
            case instructions.From():
                raise DockerfileError(
                    "FROM is no instruction of a stage", source=instruction.source, text=instruction.text
                )
            case _:
                state.settings = settings.apply(state.settings, instruction, cmd_given=state.cmd_given)
                state.cmd_given = state.cmd_given or isinstance(instruction, instructions.Cmd)
                state.events.append(Event(history.text_of(instruction, state.settings), None))

    def _place(self, instruction: Instruction) -> Place:
        self._index += 1
        return Place(
            self._stage.title,
            self._index,
            self._total,
            instruction.source,
            history.shown(instruction.line, instruction),
        )

    def _arg(self, state: StageState, instruction: instructions.Arg) -> None:
        shown = []
        for name, default in instruction.pairs:
            value = argument_value(
                name, default, build_args=self._options.build_args, global_args=self._stages.global_args
            )
            state.arguments.pop(name, None)
            state.arguments[name] = value
            shown.append(name if value is None else f"{name}={value}")
        state.events.append(Event(f"ARG {' '.join(shown)}", None))

    def _run(self, state: StageState, instruction: instructions.Run) -> None:
        argv, scripts = _command(instruction, settings.shell_of(state.settings))
        scope = state.scope
        operation = Run(
            argv=argv,
            env=tuple(scope.items()),
            arguments=tuple(
                name for name, value in state.arguments.items() if value is not None and name not in state.env
            ),
            cwd=settings.absolute("/", state.settings.working_dir or "/", keep_slash=False),
            user=state.settings.user or "",
            timestamp=state.timestamp,
            network=self._options.network,
            extra_hosts=self._options.extra_hosts,
            scripts=scripts,
            proxy=_proxy(self._options.build_args, scope),
        )
        state.top = self._graph.add(operation, (state.top,), self._place(instruction))
        arguments = [(name, scope.get(name, "")) for name in state.arguments]
        state.events.append(Event(history.run_text(argv, arguments), state.top))

    def _copy(self, state: StageState, instruction: instructions.Copy | instructions.Add) -> None:
        if len(instruction.sources) + len(instruction.heredocs) > 1 and not instruction.destination.endswith("/"):
            raise DockerfileError(
                f"when {instruction.keyword} has more than one source, the destination must be a directory "
                "and end with a /",
                source=instruction.source,
                text=instruction.text,
                hint=f"write {instruction.destination}/",
            )
        origin = instruction.from_ or "" if isinstance(instruction, instructions.Copy) else ""
        if not origin and instruction.sources and self._options.context is None:
            raise DockerfileError(
                f"{instruction.keyword} {instruction.sources[0]} needs a build context, and there is none",
                source=instruction.source,
                text=instruction.text,
                hint="give the build a directory, or write the file in the Dockerfile: COPY <<EOF /path",
            )
        operation = CopyFiles(
            sources=instruction.sources,
            destination=settings.absolute(state.settings.working_dir or "/", instruction.destination),
            timestamp=state.timestamp,
            inline=tuple(InlineFile(document.name, document.text.encode()) for document in instruction.heredocs),
            chown=instruction.chown or "",
            chmod=instruction.chmod or "",
            unpack=isinstance(instruction, instructions.Add),
            from_image=origin,
        )
        inputs = (state.top, self._origin(origin, instruction)) if origin else (state.top,)
        state.top = self._graph.add(operation, inputs, self._place(instruction))
        state.events.append(Event(history.copy_text(instruction), state.top))

    def _origin(self, name: str, instruction: Instruction) -> str:
        found = self._stages.source(name, instruction)
        if isinstance(found, str):
            image = self._resolve(found, instruction)
            place = Place(self._stage.title, 0, self._total, instruction.source, f"FROM {found}")
            return self._graph.add(Source(found, image.layers), (), place)
        if found.index not in self._states:
            raise DockerfileError(
                f"cannot copy from stage {name}: it is built after this one",
                source=instruction.source,
                text=instruction.text,
            )
        return self._states[found.index].top

    def _workdir(self, state: StageState, instruction: instructions.Workdir) -> None:
        path = settings.absolute(state.settings.working_dir or "/", instruction.path, keep_slash=False)
        state.change(working_dir=path)
        operation = MakeDirectory(path, state.settings.user or "", state.timestamp)
        state.top = self._graph.add(operation, (state.top,), self._place(instruction))
        state.events.append(Event(f"WORKDIR {path}", state.top))


def _command(instruction: instructions.Run, shell: list[str]) -> tuple[tuple[str, ...], tuple[ScriptFile, ...]]:
    """Program and arguments, and the files they need."""
    if isinstance(instruction.command, instructions.ExecForm):
        return instruction.command.arguments, ()
    script = instruction.script
    if script is not None and script.text.startswith("#!"):
        path = f"{SCRIPTS}/{script.name}"
        return (*shell, path), (ScriptFile(path, script.text.encode()),)
    return (*shell, instruction.shell_text), ()


def _proxy(build_args: Mapping[str, str], scope: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The proxy settings that were given and not declared, in both cases, as BuildKit sets them."""
    pairs: dict[str, str] = {}
    for name in sorted(PROXY_ARGS & build_args.keys()):
        pairs.setdefault(name.upper(), build_args[name])
        pairs.setdefault(name.lower(), build_args[name])
    return tuple((name, value) for name, value in sorted(pairs.items()) if name not in scope)
