"""The build checks: each finds what it is for, and nothing in a file that is well."""

from __future__ import annotations

import re

import pytest

from jupyter_containers.build.checks import EXPERIMENTAL, EXPLANATIONS, Finding, Settings, check
from jupyter_containers.build.dockerfile import IgnoreMatcher, parse
from jupyter_containers.errors import UsageError
from jupyter_containers.oci.names import Platform

AMD64 = Platform("linux", "amd64")
IGNORE = IgnoreMatcher.parse("secret.txt\n")

CLEAN = """# check=experimental=all
# VERSION of the base.
ARG VERSION=1
# build makes the program.
FROM base:${VERSION} AS build
ARG NAME=x
ENV GREETING=hello
WORKDIR /app
COPY a.txt $NAME ./
RUN echo $NOTHING
FROM scratch
COPY --from=build /app /app
EXPOSE 80/tcp
CMD ["/app/run"]
"""


def base(name: str) -> tuple[dict[str, str], Platform] | None:
    if name == "arm":
        return {}, Platform("linux", "arm64")
    return ({"FROM_BASE": "1"}, AMD64) if name.startswith("base") else None


def found(text: str, **options: object) -> list[Finding]:
    settings = Settings(experimental=EXPERIMENTAL)
    return check(
        parse(text), platform=AMD64, ignore=IGNORE, base=base, **{"settings": settings, **options}  # type: ignore[arg-type]  # a test's own
    )  # fmt: skip


def test_a_file_that_is_well() -> None:
    assert found(CLEAN, settings=None) == []


@pytest.mark.parametrize(
    ("rule", "line", "text"),
    [
        ("StageNameCasing", 1, "FROM base AS Build\n"),
        ("FromAsCasing", 1, "FROM base as build\n"),
        ("NoEmptyContinuation", 3, "FROM base\nRUN a \\\n\n b\n"),
        ("ConsistentInstructionCasing", 3, "FROM base\nRUN a\nrun b\n"),
        ("ConsistentInstructionCasing", 2, "FROM base\nRun a\n"),
        ("DuplicateStageName", 2, "FROM base AS a\nFROM base AS a\n"),
        ("ReservedStageName", 1, "FROM base AS scratch\n"),
        ("JSONArgsRecommended", 2, "FROM base\nCMD run\n"),
        ("MaintainerDeprecated", 2, "FROM base\nMAINTAINER me\n"),
        ("UndefinedArgInFrom", 2, "FROM base AS a\nFROM base:1$X\n"),
        ("WorkdirRelativePath", 2, "FROM base\nWORKDIR app\n"),
        ("UndefinedVar", 2, "FROM base\nWORKDIR /$X\n"),
        ("MultipleInstructionsDisallowed", 3, 'FROM base\nCMD ["a"]\nCMD ["b"]\n'),
        ("LegacyKeyValueFormat", 2, "FROM base\nENV a b\n"),
        ("InvalidBaseImagePlatform", 1, "FROM arm\n"),
        ("RedundantTargetPlatform", 1, "FROM --platform=$TARGETPLATFORM base\n"),
        ("SecretsUsedInArgOrEnv", 2, "FROM base\nARG API_TOKEN\n"),
        ("InvalidDefaultArgInFrom", 2, "ARG V=\nFROM base:$V\n"),
        ("FromPlatformFlagConstDisallowed", 1, "FROM --platform=linux/amd64 base\n"),
        ("CopyIgnoredFile", 2, "FROM base\nCOPY secret.txt /\n"),
        ("InvalidDefinitionDescription", 3, "FROM base\n# something\nARG NAME\n"),
        ("ExposeProtoCasing", 2, "FROM base\nEXPOSE 80/TCP\n"),
        ("ExposeInvalidFormat", 2, "FROM base\nEXPOSE 127.0.0.1:80:80\n"),
    ],
)
def test_rules(rule: str, line: int, text: str) -> None:
    findings = found(text)
    assert [(finding.rule, finding.line) for finding in findings] == [(rule, line)]
    assert findings[0].explanation
    assert re.fullmatch(r"https://docs\.docker\.com/go/dockerfile/rule/[a-z]+(-[a-z]+)*/", findings[0].url)
    assert str(findings[0]).startswith(f"line {line}: {rule}: ")
    assert found(text, settings=Settings(skip=frozenset({rule}), experimental=EXPERIMENTAL)) == []


def test_all_rules_are_tested_and_there_are_as_many_as_docker_has() -> None:
    assert len(EXPLANATIONS) == 22


@pytest.mark.parametrize(
    "text",
    [
        "FROM base\nWORKDIR /$FROM_BASE\n",
        "FROM unknown\nWORKDIR /$ANY\n",
        "FROM base AS a\nWORKDIR /a\nFROM a\nWORKDIR b\n",
        'FROM base\nSHELL ["/bin/bash"]\nCMD run\n',
        "FROM base\nENV PUBLIC_KEY=1 KEYBOARD=x\n",
        "FROM base\nWORKDIR /${X:-y}\n",
        "from base as a\nrun b\n",
    ],
)
def test_what_is_no_mistake(text: str) -> None:
    assert found(text) == []


def test_the_directive() -> None:
    assert found("# check=skip=all\nFROM base as b\n", settings=None) == []
    assert found("FROM base\nCOPY secret.txt /\n", settings=None) == []
    assert Settings.parse("skip=A, B;error=true").error
    with pytest.raises(UsageError, match="invalid check directive"):
        Settings.parse("what")


def test_where_the_rules_are_explained() -> None:
    rules = ["JSONArgsRecommended", "SecretsUsedInArgOrEnv", "ExposeProtoCasing"]
    ends = [Finding(rule, 1, "").url.rstrip("/").rpartition("/")[2] for rule in rules]
    assert ends == ["json-args-recommended", "secrets-used-in-arg-or-env", "expose-proto-casing"]
