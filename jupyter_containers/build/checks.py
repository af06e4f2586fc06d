"""The build checks: what a Dockerfile does that works, and is probably not what was meant.

The rules have the names of Docker's reference, "Build checks"; ``# check=skip=A,B;error=true`` steers them.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from jupyter_containers.build.dockerfile import expand_instruction, instructions, plan_stages
from jupyter_containers.build.dockerfile.stages import argument_value
from jupyter_containers.build.mounts import origins
from jupyter_containers.build.remote import is_remote
from jupyter_containers.errors import DockerfileError, InvalidInput, InvalidReference, UsageError
from jupyter_containers.oci.names import Platform, Reference
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from jupyter_containers.build.dockerfile import Dockerfile, IgnoreMatcher, Instruction, Stage, StagePlan

EXPLANATIONS: Final[dict[str, str]] = {
    "StageNameCasing": "Names of stages are compared in lower case; write them so.",
    "FromAsCasing": "FROM and AS should be written in the same case.",
    "NoEmptyContinuation": "An empty line in a continued instruction will end it in future versions.",
    "ConsistentInstructionCasing": "All instructions of a file should be written in the same case.",
    "DuplicateStageName": "Two stages have one name; --from finds the last one.",
    "ReservedStageName": "scratch and context mean something else; name the stage differently.",
    "JSONArgsRecommended": "In shell form signals reach the shell, not the program; use the JSON form.",
    "MaintainerDeprecated": "Use LABEL org.opencontainers.image.authors instead.",
    "UndefinedArgInFrom": "FROM sees only the ARGs that stand before the first FROM.",
    "WorkdirRelativePath": "What a relative WORKDIR means depends on the base image; write an absolute path first.",
    "UndefinedVar": "The variable is not set here and stands for nothing.",
    "MultipleInstructionsDisallowed": "Only the last one in a stage has an effect.",
    "LegacyKeyValueFormat": "Write NAME=value; the form with a space is deprecated.",
    "InvalidBaseImagePlatform": "The base image is for another platform than the one that is built for.",
    "RedundantTargetPlatform": "The target platform is the default; leave --platform out.",
    "SecretsUsedInArgOrEnv": "ARG and ENV stay in the image for all to read; use RUN --mount=type=secret.",
    "InvalidDefaultArgInFrom": "With the defaults of its ARGs the FROM names no image; give them a default.",
    "FromPlatformFlagConstDisallowed": "A fixed --platform cannot be built for others; use --platform of the build.",
    "CopyIgnoredFile": "The file is left out by .dockerignore, so it cannot be copied.",
    "InvalidDefinitionDescription": "A comment above FROM or ARG that describes it begins with its name.",
    "ExposeProtoCasing": "Write the protocol in lower case.",
    "ExposeInvalidFormat": "EXPOSE takes a port and a protocol, no address and no port of the host.",
}
REFERENCE: Final = "https://docs.docker.com/go/dockerfile/rule/{}/"
EXPERIMENTAL: Final = frozenset({"CopyIgnoredFile", "InvalidDefinitionDescription"})

_RESERVED = frozenset({"scratch", "context"})
_SECRET = re.compile(
    r"(?:^|_)(?:api_?key|auth|credentials?|key|password|passwd|pword|secret|token)(?:_|$)", re.IGNORECASE
)
_PUBLIC = re.compile(r"(?:^|_)public(?:_|$)", re.IGNORECASE)
_SHELL_FORMS = instructions.Cmd | instructions.Entrypoint


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that a line breaks."""

    rule: str
    line: int
    message: str

    @property
    def explanation(self) -> str:
        """What the rule is about, and what to do."""
        return EXPLANATIONS[self.rule]

    @property
    def url(self) -> str:
        """Where Docker's reference tells of the rule."""
        return REFERENCE.format(re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=JSON)", "-", self.rule).lower())

    def __str__(self) -> str:
        """One line."""
        return f"line {self.line}: {self.rule}: {self.message}"


@dataclass(frozen=True, slots=True)
class Settings:
    """What ``# check=`` says."""

    skip: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    error: bool = False

    @classmethod
    def parse(cls, text: str | None) -> Settings:
        """Read ``skip=A,B|all;experimental=A|all;error=true``.

        Raises
        ------
        UsageError
            for anything else.
        """
        values: dict[str, str] = {}
        for part in filter(None, (text or "").split(";")):
            key, equals, value = part.partition("=")
            if not equals or key.strip() not in {"skip", "error", "experimental"}:
                raise UsageError(f"invalid check directive {text!r}", hint="write it as skip=RULE,RULE;error=true")
            values[key.strip()] = value.strip()

        def rules(key: str) -> frozenset[str]:
            names = [name.strip() for name in values.get(key, "").split(",")]
            return frozenset(EXPLANATIONS) if "all" in names else frozenset(filter(None, names))

        return cls(rules("skip"), rules("experimental"), values.get("error", "").lower() in {"1", "true"})


def check(
    dockerfile: Dockerfile,
    *,
    platform: Platform,
    build_args: Mapping[str, str] | None = None,
    ignore: IgnoreMatcher | None = None,
    base: Callable[[str], tuple[Mapping[str, str], Platform] | None] = lambda _name: None,
    settings: Settings | None = None,
) -> list[Finding]:
    """Look for what breaks a rule, in the order of the lines.

    Parameters
    ----------
    ignore
        The ``.dockerignore`` of the context.
    base
        The variables and the platform of an image; None where it is not known: its variables are then not missed.
    settings
        Default: those of the file's directive.

    Raises
    ------
    DockerfileError, UsageError
        for a file that cannot be built at all.
    """
    chosen = settings or Settings.parse(dockerfile.directive("check"))
    plan = plan_stages(dockerfile.instructions, escape=dockerfile.escape, build_args=build_args, platform=platform)
    found = [*_words(dockerfile.instructions), *_from(dockerfile, plan, build_args or {}, platform)]
    scopes: dict[int, _Scope] = {}
    for stage in plan.stages:
        scope = _scope(stage, scopes, base)
        scopes[stage.index] = scope
        known = base(stage.start.image) if stage.base_stage is None else None
        if known is not None and not known[1].matches(stage.platform or platform):
            found.append(
                Finding(
                    "InvalidBaseImagePlatform",
                    stage.start.source.first,
                    f"{stage.start.image} is for {known[1]}, the build for {stage.platform or platform}",
                )
            )
        found += _stage(stage, plan, scope, build_args or {}, ignore)
    unwanted = chosen.skip | (EXPERIMENTAL - chosen.experimental)
    kept = {finding: None for finding in found if finding.rule not in unwanted}
    return sorted(kept, key=lambda finding: (finding.line, finding.rule))


def refuse(findings: Sequence[Finding], dockerfile: Dockerfile) -> None:
    """Raise DockerfileError for what was found in a file that says ``error=true``."""
    if not findings:
        return
    first, *more = findings
    others = f" (and {', '.join(f'line {finding.line}: {finding.rule}' for finding in more)})" if more else ""
    found = (item for item in dockerfile.instructions if item.source.first <= first.line <= item.source.last)
    item = next(found, dockerfile.instructions[0])
    raise DockerfileError(
        f"{first.rule}: {first.message}{others}", source=item.source, text=item.text, hint=first.explanation
    )


def _written(instruction: Instruction) -> str:
    return instruction.line.split(maxsplit=1)[0]


def _words(all_: Sequence[Instruction]) -> Iterator[Finding]:
    """How instructions are written, whatever they mean."""
    upper = Counter(_written(item).isupper() for item in all_)
    wanted = upper[True] >= upper[False]
    for item in all_:
        line, word = item.source.first, _written(item)
        if word.isupper() != wanted or not (word.isupper() or word.islower()):
            case = "upper" if wanted else "lower"
            yield Finding("ConsistentInstructionCasing", line, f"{word} should be written in {case} case")
        for number in item.node.empty_lines:
            yield Finding("NoEmptyContinuation", number, f"an empty line in {word}")
        if item.node.legacy:
            yield Finding("LegacyKeyValueFormat", line, f"{item.keyword} {item.node.words[0]} is written without =")
        match item:
            case instructions.Maintainer():
                yield Finding("MaintainerDeprecated", line, "MAINTAINER is deprecated")
            case instructions.Arg() | instructions.Env():
                for name, _value in item.pairs:
                    if _SECRET.search(name) and not _PUBLIC.search(name):
                        yield Finding("SecretsUsedInArgOrEnv", line, f'{item.keyword} "{name}" seems to hold a secret')
            case instructions.Expose():
                yield from _expose(item)
            case _:
                pass
        if isinstance(item, instructions.From | instructions.Arg):
            yield from _described(item)


def _expose(item: instructions.Expose) -> Iterator[Finding]:
    for port in item.ports:
        protocol = port.partition("/")[2]
        if protocol and protocol != protocol.lower() and "$" not in protocol:
            yield Finding("ExposeProtoCasing", item.source.first, f"{port}: write {port.lower()}")
        if ":" in port and "$" not in port:
            yield Finding("ExposeInvalidFormat", item.source.first, f"{port} has an address or a port of the host")


def _described(item: instructions.From | instructions.Arg) -> Iterator[Finding]:
    name = item.name if isinstance(item, instructions.From) else item.pairs[0][0]
    comment = item.node.comments[-1].strip() if item.node.comments else ""
    if comment and name and comment.split(maxsplit=1)[0].rstrip(":") != name:
        yield Finding(
            "InvalidDefinitionDescription", item.source.first, f"the comment above does not begin with {name}"
        )


def _from(
    dockerfile: Dockerfile, plan: StagePlan, build_args: Mapping[str, str], platform: Platform
) -> Iterator[Finding]:
    names: set[str] = set()
    starts = [item for item in dockerfile.instructions if isinstance(item, instructions.From)]
    for start in starts:
        line, words = start.source.first, start.node.words
        if len(words) > 1:
            if words[2] != words[2].lower():
                yield Finding("StageNameCasing", line, f"{words[2]} should be {words[2].lower()}")
            if words[1].isupper() != _written(start).isupper():
                yield Finding("FromAsCasing", line, f"{_written(start)} and {words[1]} are written in different case")
            name = words[2].lower()
            if name in _RESERVED:
                yield Finding("ReservedStageName", line, f"{name} is reserved")
            if name in names:
                yield Finding("DuplicateStageName", line, f"there is a stage {name} already")
            names.add(name)
        if start.platform is not None:
            if start.platform in {"$TARGETPLATFORM", "${TARGETPLATFORM}"}:
                yield Finding("RedundantTargetPlatform", line, f"--platform={start.platform} is the default")
            elif "$" not in start.platform:
                yield Finding("FromPlatformFlagConstDisallowed", line, f"--platform={start.platform} is fixed")
        unset: list[str] = []
        expand_instruction(start, plan.global_args, escape=dockerfile.escape, unset=unset)
        for missing in unset:
            yield Finding("UndefinedArgInFrom", line, f"{missing} is not declared before the first FROM")
    if build_args:
        yield from _defaults(dockerfile, platform)
        return
    for stage in plan.stages:
        yield from _reference(stage)


def _defaults(dockerfile: Dockerfile, platform: Platform) -> Iterator[Finding]:
    """The stages as they are without build arguments."""
    try:
        bare = plan_stages(dockerfile.instructions, escape=dockerfile.escape, platform=platform)
    except DockerfileError as error:
        yield Finding("InvalidDefaultArgInFrom", error.source.first, "without build arguments it names no image")
        return
    for stage in bare.stages:
        yield from _reference(stage)


def _reference(stage: Stage) -> Iterator[Finding]:
    if stage.base_stage is None and stage.start.image != "scratch":
        try:
            Reference.parse(stage.start.image)
        except (InvalidReference, InvalidInput):
            yield Finding("InvalidDefaultArgInFrom", stage.start.source.first, f"{stage.start.image} is no image")


@dataclass(slots=True)
class _Scope:
    """What is known at a point of a stage; ``complete``: the variables of the base image are among ``env``."""

    env: dict[str, str]
    complete: bool
    arguments: dict[str, str]
    workdir: bool = False
    shell: bool = False


def _scope(
    stage: Stage,
    scopes: Mapping[int, _Scope],
    base: Callable[[str], tuple[Mapping[str, str], Platform] | None],
) -> _Scope:
    if stage.base_stage is not None:
        below = scopes[stage.base_stage]
        return _Scope(dict(below.env), below.complete, dict(below.arguments), below.workdir, below.shell)
    known = ({}, None) if stage.start.image == "scratch" else base(stage.start.image)
    env = dict(known[0]) if known is not None else {}
    return _Scope({"PATH": "", **env}, known is not None, {})


def _stage(
    stage: Stage, plan: StagePlan, scope: _Scope, build_args: Mapping[str, str], ignore: IgnoreMatcher | None
) -> Iterator[Finding]:
    seen: dict[str, Instruction] = {}
    for item in stage.instructions:
        line = item.source.first
        unset: list[str] = []
        try:
            expanded = expand_instruction(item, {**scope.arguments, **scope.env}, escape=plan.escape, unset=unset)
        except DockerfileError:
            expanded = item  # a variable that must be set: said by the build
        if scope.complete:
            for name in unset:
                yield Finding("UndefinedVar", line, f"{name} is not set")
        if isinstance(item, instructions.Cmd | instructions.Entrypoint | instructions.Healthcheck):
            if item.keyword in seen:
                yield Finding("MultipleInstructionsDisallowed", line, f"{item.keyword} stands more than once")
            seen[item.keyword] = item
        if isinstance(item, _SHELL_FORMS) and isinstance(item.command, instructions.ShellForm) and not scope.shell:
            yield Finding("JSONArgsRecommended", line, f"{item.keyword} is in shell form")
        if isinstance(expanded, instructions.Copy | instructions.Add):
            yield from _ignored(expanded, ignore)
        if isinstance(expanded, instructions.Workdir) and not expanded.path.startswith("/") and not scope.workdir:
            yield Finding("WorkdirRelativePath", line, f"WORKDIR {expanded.path} is relative to nothing known")
        _advance(scope, expanded, plan, build_args)


def _advance(scope: _Scope, item: Instruction, plan: StagePlan, build_args: Mapping[str, str]) -> None:
    match item:
        case instructions.Workdir():
            scope.workdir = True
        case instructions.Shell():
            scope.shell = True
        case instructions.Env():
            scope.env |= dict(item.pairs)
        case instructions.Arg():
            for name, default in item.pairs:
                value = argument_value(name, default, build_args=build_args, global_args=plan.global_args)
                scope.arguments[name] = value or ""
        case _:
            pass


def _ignored(item: instructions.Copy | instructions.Add, ignore: IgnoreMatcher | None) -> Iterator[Finding]:
    if ignore is None or origins(item):
        return
    for source in item.sources:
        path = source.strip("/").removeprefix("./")
        if path in {"", "."} or is_remote(source) or "*" in path:
            continue
        if ignore.excludes(path):
            yield Finding("CopyIgnoredFile", item.source.first, f"{source} is left out by .dockerignore")
