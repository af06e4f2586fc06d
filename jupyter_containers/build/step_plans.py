"""RUN, COPY, ADD and WORKDIR of a stage: from instructions with their variables replaced to vertices of the graph."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from jupyter_containers.build import history, settings
from jupyter_containers.build.dockerfile import instructions
from jupyter_containers.build.dockerfile.stages import PROXY_ARGS, Stage, StagePlan
from jupyter_containers.build.graph import (
    MOUNTED,
    CopyFiles,
    Graph,
    InlineFile,
    MakeDirectory,
    Place,
    Run,
    RunMount,
    Source,
    Unpack,
)
from jupyter_containers.build.interfaces import ScriptFile
from jupyter_containers.build.modes import parse_mode
from jupyter_containers.build.mounts import CACHE_NAMESPACE, read_mounts, run_mount
from jupyter_containers.build.remote import is_remote
from jupyter_containers.build.scope import Event, StageState
from jupyter_containers.errors import DockerfileError, InvalidInput
from jupyter_containers.records import dataclass, replace

if TYPE_CHECKING:
    from jupyter_containers.build.dockerfile import Instruction
    from jupyter_containers.build.interfaces import NetworkMode, ResolvedImage
    from jupyter_containers.build.options import BuildOptions

SCRATCH = "scratch"
SCRIPTS = "/dev/pipes"

_UNPACK: Final[dict[bool | None, Unpack]] = {None: "local", True: "always", False: "never"}

Resolve: TypeAlias = Callable[[str, "Instruction"], "ResolvedImage"]
"""The image of a name; the instruction that names it is for messages."""


@dataclass(frozen=True, slots=True)
class _Vertex:
    """A vertex by its id, told from a named context by its type."""

    id: str


class StepPlanner:
    """Adds the steps of one stage to the graph.

    ``stages`` and ``states`` say what other stages there are and what became of those before this one; ``total`` is the
    number of steps, ``done`` how many there are already.
    """

    def __init__(
        self,
        graph: Graph,
        stages: StagePlan,
        stage: Stage,
        states: Mapping[int, StageState],
        options: BuildOptions,
        resolve: Resolve,
        *,
        total: int,
        done: int,
    ) -> None:
        self._graph = graph
        self._stages = stages
        self._stage = stage
        self._states = states
        self._options = options
        self._resolve = resolve
        self._total = total
        self._index = done

    def _place(self, state: StageState, instruction: Instruction) -> Place:
        self._index += 1
        return Place(
            self._stage.title,
            self._index,
            self._total,
            instruction.source,
            history.shown(instruction.line, instruction),
            state.surroundings,
        )

    def run(self, state: StageState, instruction: instructions.Run) -> None:
        """Add a RUN.

        Raises
        ------
        DockerfileError
            for what cannot be done, with its line; so do the others.
        """
        argv, scripts = _command(instruction, settings.shell_of(state.settings))
        scope = state.scope
        cwd = settings.absolute("/", state.settings.working_dir or "/", keep_slash=False)
        privileged = instruction.security == "insecure"
        if privileged and not self._options.insecure:
            raise _refused(
                instruction, "RUN --security=insecure is not allowed", "allow it with --allow security.insecure"
            )
        planned = [self._mount(state, instruction, mount, cwd) for mount in read_mounts(instruction)]
        inputs = [state.top]
        mounts = []
        for mount, vertex in planned:
            mounts.append(replace(mount, input=len(inputs)) if vertex else mount)
            inputs += [vertex] if vertex else []
        operation = Run(
            argv=argv,
            env=tuple(scope.items()),
            arguments=tuple(
                name
                for name, value in state.arguments.items()
                if value is not None and (name not in state.env or name in state.later)
            ),
            cwd=cwd,
            user=state.settings.user or "",
            timestamp=state.timestamp,
            network=self._options.network if instruction.network == "default" else _network(instruction),
            extra_hosts=self._options.extra_hosts,
            scripts=scripts,
            proxy=_proxy(self._options.build_args, scope),
            mounts=tuple(mounts),
            privileged=privileged,
        )
        state.top = self._graph.add(operation, tuple(inputs), self._place(state, instruction))
        arguments = [(name, scope.get(name, "")) for name in state.arguments]
        state.events.append(Event(history.run_text(argv, arguments), state.top))

    def _mount(
        self, state: StageState, instruction: instructions.Run, mount: instructions.Mount, cwd: str
    ) -> tuple[RunMount, str | None]:
        """A mount, and the vertex that holds its files."""
        planned = run_mount(mount, cwd, self._options.build_args.get(CACHE_NAMESPACE, ""))
        wanted = mount.type is instructions.MountType.BIND or (
            mount.type is instructions.MountType.CACHE and mount.from_
        )
        if not wanted:
            return planned, None
        origin = self._origin(mount.from_, instruction) if mount.from_ else None
        source = posixpath.normpath("/" + mount.source).lstrip("/") or "."
        if isinstance(origin, _Vertex) and source == ".":
            return replace(planned, whole=True), origin.id
        if origin is None and self._options.context is None:
            raise _refused(instruction, f"the mount on {planned.target} needs a build context, and there is none")
        copy = CopyFiles(
            sources=(source,),
            destination=f"/{MOUNTED}",
            timestamp=state.timestamp,
            from_image=mount.from_ if isinstance(origin, _Vertex) else "",
            context=origin or "" if not isinstance(origin, _Vertex) else "",
            link=True,
            keyword=f"RUN --mount={planned.target}",
        )
        place = Place(self._stage.title, 0, self._total, instruction.source, instruction.line)
        empty = self._graph.add(Source(SCRATCH, ()), (), place)
        inputs = (empty, origin.id) if isinstance(origin, _Vertex) else (empty,)
        return planned, self._graph.add(copy, inputs, place)

    def copy(self, state: StageState, instruction: instructions.Copy | instructions.Add) -> None:
        """Add a COPY or an ADD."""
        if len(instruction.sources) + len(instruction.heredocs) > 1 and not instruction.destination.endswith("/"):
            raise _refused(
                instruction,
                f"when {instruction.keyword} has more than one source, the destination must be a directory "
                "and end with a /",
                f"write {instruction.destination}/",
            )
        operation = self._copy_operation(state, instruction)
        inputs = [state.top]
        if isinstance(instruction, instructions.Copy) and instruction.from_:
            origin = self._origin(instruction.from_, instruction)
            if isinstance(origin, _Vertex):
                operation = replace(operation, from_image=instruction.from_)
                inputs.append(origin.id)
            else:
                operation = replace(operation, context=origin)
        elif fetched := [x for x in instruction.sources if is_remote(x) and not _fetched(instruction, x)]:
            raise _refused(instruction, f"COPY does not fetch {fetched[0]}", "ADD does")
        elif self._options.context is None and (
            local := [x for x in instruction.sources if not _fetched(instruction, x)]
        ):
            raise _refused(
                instruction,
                f"{instruction.keyword} {local[0]} needs a build context, and there is none",
                "give the build a directory, or write the file in the Dockerfile: COPY <<EOF /path",
            )
        state.top = self._graph.add(operation, tuple(inputs), self._place(state, instruction))
        state.events.append(Event(history.copy_text(instruction), state.top))

    def _copy_operation(self, state: StageState, instruction: instructions.Copy | instructions.Add) -> CopyFiles:
        if instruction.chmod:
            try:
                parse_mode(instruction.chmod)
            except InvalidInput as error:
                raise _refused(instruction, f"--chmod: {error.message}", error.hint) from error
        operation = CopyFiles(
            sources=instruction.sources,
            destination=settings.absolute(state.settings.working_dir or "/", instruction.destination),
            timestamp=state.timestamp,
            inline=tuple(InlineFile(document.name, document.text.encode()) for document in instruction.heredocs),
            chown=instruction.chown or "",
            chmod=instruction.chmod or "",
            link=instruction.link,
            exclude=instruction.exclude,
            keyword=instruction.keyword,
        )
        if isinstance(instruction, instructions.Copy):
            return replace(operation, parents=instruction.parents)
        if instruction.checksum and (len(instruction.sources) != 1 or not is_remote(instruction.sources[0])):
            raise _refused(instruction, "ADD --checksum is for one source that is fetched: a URL or a git repository")
        return replace(
            operation,
            unpack=_UNPACK[instruction.unpack],
            checksum=instruction.checksum or "",
            keep_git_dir=bool(instruction.keep_git_dir),
        )

    def _origin(self, name: str, instruction: Instruction) -> _Vertex | str:
        """What ``--from`` names: a vertex, or a named context that is a directory."""
        context = self._options.contexts.get(name.lower())
        if context is not None and not isinstance(context, str):
            return name.lower()
        found = context or self._stages.source(name, instruction)
        if isinstance(found, str):
            image = self._resolve(found, instruction)
            place = Place(self._stage.title, 0, self._total, instruction.source, f"FROM {found}")
            return _Vertex(self._graph.add(Source(found, image.layers), (), place))
        if found.index not in self._states:
            raise _refused(instruction, f"cannot copy from stage {name}: it is built after this one")
        return _Vertex(self._states[found.index].top)

    def workdir(self, state: StageState, instruction: instructions.Workdir) -> None:
        """Add a WORKDIR, which is where the stage works from then on."""
        path = settings.absolute(state.settings.working_dir or "/", instruction.path, keep_slash=False)
        state.change(working_dir=path)
        operation = MakeDirectory(path, state.settings.user or "", state.timestamp)
        state.top = self._graph.add(operation, (state.top,), self._place(state, instruction))
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


def _refused(instruction: Instruction, message: str, hint: str | None = None) -> DockerfileError:
    return DockerfileError(message, source=instruction.source, text=instruction.text, hint=hint)


def _fetched(instruction: Instruction, source: str) -> bool:
    return isinstance(instruction, instructions.Add) and is_remote(source)


def _network(instruction: instructions.Run) -> NetworkMode:
    return "none" if instruction.network == "none" else "host"


def _proxy(build_args: Mapping[str, str], scope: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The proxy settings that were given and not declared, in both cases, as BuildKit sets them."""
    pairs: dict[str, str] = {}
    for name in sorted(PROXY_ARGS & build_args.keys()):
        pairs.setdefault(name.upper(), build_args[name])
        pairs.setdefault(name.lower(), build_args[name])
    return tuple((name, value) for name, value in sorted(pairs.items()) if name not in scope)
