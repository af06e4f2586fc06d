"""From a Dockerfile to a graph: scopes of variables, settings of the image, history, and the steps that make layers.

Instructions that only change settings (ENV, LABEL, CMD ...) are folded in here; RUN, COPY, ADD and WORKDIR become
vertices (:mod:`.step_plans`). Nothing is read or run: images come from a function that knows them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_containers.build import history, settings
from jupyter_containers.build.dockerfile import (
    Dockerfile,
    expand_instruction,
    instructions,
    parse_trigger,
    require_supported,
)
from jupyter_containers.build.dockerfile.stages import Stage, StagePlan, argument_value, plan_stages
from jupyter_containers.build.graph import (
    Graph,
    Place,
    Source,
)
from jupyter_containers.build.mounts import origins, with_aliases
from jupyter_containers.build.scope import Event, StageState
from jupyter_containers.build.step_plans import SCRATCH, StepPlanner
from jupyter_containers.errors import DockerfileError, UsageError
from jupyter_containers.images.model import parse_time
from jupyter_containers.images.mutate import empty_config
from jupyter_containers.oci.image_spec import ContainerConfig
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from jupyter_containers.build.dockerfile import Instruction
    from jupyter_containers.build.options import BuildOptions
    from jupyter_containers.build.step_plans import Resolve
    from jupyter_containers.oci.names import Platform


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
        when the target, or what a named context stands for, is none of the stages.
    """
    require_supported(dockerfile.instructions, platform=platform)
    stages = plan_stages(
        [with_aliases(instruction, options.aliases) for instruction in dockerfile.instructions],
        escape=dockerfile.escape,
        target=options.target,
        build_args=options.build_args,
        platform=platform,
    )
    require_supported((stage.start for stage in stages.order), platform=platform)
    names = {stage.name for stage in stages.stages}
    for alias, name in options.aliases.items():
        if name not in names:
            raise UsageError(f"the named context {alias} is to be stage {name}, and there is none of that name")
    return stages


def images_named(stages: StagePlan, options: BuildOptions) -> list[tuple[str, Instruction, Stage | None]]:
    """The images a target needs: name, who names it, and the stage that begins with it (None: ``--from``)."""
    found: list[tuple[str, Instruction, Stage | None]] = []

    def add(name: str, instruction: Instruction, stage: Stage | None) -> None:
        context = options.contexts.get(name.lower())
        if context is None:
            origin = stages.source(name, instruction) if stage is None else name
            if isinstance(origin, str) and origin != SCRATCH:
                found.append((origin, instruction, stage))
        elif isinstance(context, str):
            found.append((context, instruction, stage))

    for stage in stages.order:
        if stage.base_stage is None:
            add(stage.start.image, stage.start, stage)
        for instruction in stage.instructions:
            for name in origins(instruction):
                add(name, instruction, None)
    return found


def makes_layer(instruction: Instruction) -> bool:
    """Whether an instruction is a step of its own."""
    return isinstance(instruction, instructions.Run | instructions.Copy | instructions.Add | instructions.Workdir)


def count_steps(stage: Stage, triggers: int = 0) -> int:
    """The steps of a stage: FROM, unless it continues another stage, and what makes layers."""
    return (stage.base_stage is None) + triggers + sum(map(makes_layer, stage.instructions))


def places(stage: Stage) -> list[Place]:
    """The steps of a stage that is not built, as they are written."""
    start = [(stage.start, history.from_text(stage.start))] if stage.base_stage is None else []
    steps = [(item, history.shown(item.line, item)) for item in stage.instructions if makes_layer(item)]
    found: list[tuple[Instruction, str]] = [*start, *steps]
    return [
        Place(stage.title, number, len(found), instruction.source, text)
        for number, (instruction, text) in enumerate(found, 1)
    ]


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

    def run(self) -> BuildPlan:
        for stage in self._stages.order:
            self._states[stage.index] = self._plan_stage(stage)
        state = self._states[self._stages.target.index]
        return BuildPlan(self._graph.for_target(state.top), state.top, state, self._stages)

    # -- stages ------------------------------------------------------------------------------------------------------

    def _plan_stage(self, stage: Stage) -> StageState:
        state = self._begin(stage)
        triggers = [
            parse_trigger(text, name=f"ONBUILD of {stage.start.image}") for text in state.settings.on_build or []
        ]
        require_supported(triggers, platform=self._platform)
        steps = StepPlanner(
            self._graph,
            self._stages,
            stage,
            self._states,
            self._options,
            self._resolve,
            total=count_steps(stage, sum(map(makes_layer, triggers))),
            done=int(stage.base_stage is None),
        )
        state.change(on_build=None)
        for instruction in (*triggers, *stage.instructions):
            expanded = expand_instruction(instruction, state.scope, escape=self._stages.escape)
            require_supported([expanded], platform=self._platform)
            self._apply(state, expanded, steps)
        return state

    def _begin(self, stage: Stage) -> StageState:
        name = stage.start.image
        context = self._options.contexts.get(name.lower())
        if context is not None and not isinstance(context, str):
            raise DockerfileError(
                f"FROM {name}: the named context {name} is a directory, not an image",
                source=stage.start.source,
                text=stage.start.text,
                hint=f"copy from it (COPY --from={name}), or give docker-image://IMAGE",
            )
        if context is None and stage.base_stage is not None:
            below = self._states[stage.base_stage]
            return StageState(
                below.base,
                below.timestamp,
                below.top,
                below.settings,
                below.author,
                list(below.events),
                dict(below.arguments),
                dict(below.later),
            )
        if context is None and name == SCRATCH:
            base, source = empty_config(self._platform), Source(SCRATCH, ())
        else:
            image = self._resolve(context or name, stage.start)
            base, source = image.config, Source(context or name, image.layers)
        created = parse_time(base.created)
        timestamp = self._epoch if self._epoch is not None else max(0, int(created.timestamp())) if created else 0
        total = count_steps(stage)
        state = StageState(
            base, None if self._options.keep_times else timestamp, "", base.config or ContainerConfig(), base.author
        )
        if "PATH" not in state.env:
            state.change(env=settings.set_variables(state.settings.env, [("PATH", settings.DEFAULT_PATH)]))
        if not state.settings.working_dir and stage.start.image == SCRATCH:
            state.change(working_dir="/")
        text = history.from_text(stage.start)
        place = Place(stage.title, 1, total, stage.start.source, text, state.surroundings)
        state.top = self._graph.add(source, (), place)
        return state

    # -- instructions ------------------------------------------------------------------------------------------------

    def _apply(self, state: StageState, instruction: Instruction, steps: StepPlanner) -> None:
        match instruction:
            case instructions.Run():
                steps.run(state, instruction)
            case instructions.Copy() | instructions.Add():
                steps.copy(state, instruction)
            case instructions.Workdir():
                steps.workdir(state, instruction)
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
                if isinstance(instruction, instructions.Env):
                    state.later = {name: x for name, x in state.later.items() if name not in dict(instruction.pairs)}
                state.settings = settings.apply(state.settings, instruction, cmd_given=state.cmd_given)
                state.cmd_given = state.cmd_given or isinstance(instruction, instructions.Cmd)
                state.events.append(Event(history.text_of(instruction, state.settings), None))

    def _arg(self, state: StageState, instruction: instructions.Arg) -> None:
        shown = []
        for name, default in instruction.pairs:
            value = argument_value(
                name, default, build_args=self._options.build_args, global_args=self._stages.global_args
            )
            state.declare(name, value)
            shown.append(name if value is None else f"{name}={value}")
        state.events.append(Event(f"ARG {' '.join(shown)}", None))
