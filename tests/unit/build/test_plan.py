"""Planning: scopes of variables, settings of the image, what is refused. Nothing is built here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.build import history, settings, wildcards
from jupyter_containers.build.dockerfile import parse
from jupyter_containers.build.graph import CopyFiles, Run
from jupyter_containers.build.interfaces import ResolvedImage
from jupyter_containers.build.options import BuildOptions
from jupyter_containers.build.plan import BuildPlan, plan_build, read_stages
from jupyter_containers.errors import DockerfileError, ImageNotFound, InvalidInput
from jupyter_containers.images import mutate
from jupyter_containers.oci.image_spec import ContainerConfig, Descriptor
from jupyter_containers.oci.names import Platform

if TYPE_CHECKING:
    from jupyter_containers.build.dockerfile import Instruction

PLATFORM = Platform("linux", "amd64")


def plan(text: str, base: ContainerConfig | None = None, **options: object) -> BuildPlan:
    asked = BuildOptions(text, **options)  # type: ignore[arg-type]  # a test's own

    def resolve(name: str, _instruction: Instruction) -> ResolvedImage:
        if name != "base":
            raise ImageNotFound(name)
        config = mutate.set_container_config(mutate.empty_config(PLATFORM), base or ContainerConfig())
        return ResolvedImage(name, Descriptor("m", "sha256:" + "0" * 64, 1), config, ())

    stages = read_stages(parse(text), asked, PLATFORM)
    return plan_build(stages, asked, platform=PLATFORM, resolve=resolve)


def runs(planned: BuildPlan) -> list[Run]:
    return [vertex.operation for vertex in planned.graph if isinstance(vertex.operation, Run)]


def env_of(planned: BuildPlan) -> dict[str, str]:
    return {name: value for name, value in runs(planned)[-1].env if name != "PATH"}


@pytest.mark.parametrize(
    ("text", "build_args", "expected"),
    [
        ("FROM base\nRUN x", {}, {}),
        ("FROM base\nENV A=1\nENV A=2 B=$A\nRUN x", {}, {"A": "2", "B": "1"}),
        ("FROM base\nARG A\nRUN x", {}, {}),
        ("FROM base\nARG A\nRUN x", {"A": "given"}, {"A": "given"}),
        ("FROM base\nARG A=default\nRUN x", {}, {"A": "default"}),
        ("FROM base\nARG A=default\nRUN x", {"A": "given"}, {"A": "given"}),
        ("FROM base\nRUN x", {"A": "undeclared"}, {}),
        ("ARG A=global\nFROM base\nRUN x", {}, {}),
        ("ARG A=global\nFROM base\nARG A\nRUN x", {}, {"A": "global"}),
        ("ARG A=global\nFROM base\nARG A=own\nRUN x", {}, {"A": "own"}),
        ("FROM base\nARG A=arg\nENV A=env\nRUN x", {"A": "given"}, {"A": "env"}),
        ("FROM base\nENV A=env\nARG A=arg\nRUN x", {"A": "given"}, {"A": "given"}),
        ("FROM base\nENV A=env\nARG A\nRUN x", {}, {"A": "env"}),
        ("FROM base\nENV A=env\nARG A=arg\nENV A=again\nRUN x", {}, {"A": "again"}),
        ("FROM base\nARG A=1\nENV B=${A:-2} C=${D:-3}\nRUN x", {}, {"A": "1", "B": "1", "C": "3"}),
        ("FROM base AS a\nARG A=1\nENV B=2\nFROM a\nRUN x", {}, {"A": "1", "B": "2"}),
        ("FROM base AS a\nARG A=1\nRUN x\nFROM base\nRUN x", {}, {}),
        ("FROM base\nARG TARGETARCH\nRUN x", {}, {"TARGETARCH": "amd64"}),
        ("FROM base\nRUN x", {"HTTP_PROXY": "p"}, {}),
        ("FROM base\nARG HTTP_PROXY\nRUN x", {"HTTP_PROXY": "p"}, {"HTTP_PROXY": "p"}),
    ],
)
def test_what_a_command_sees(text: str, build_args: dict[str, str], expected: dict[str, str]) -> None:
    assert env_of(plan(text, build_args=build_args)) == expected


def test_the_path_is_always_set_and_the_images_own_kept() -> None:
    assert dict(runs(plan("FROM base\nRUN x"))[0].env)["PATH"] == settings.DEFAULT_PATH
    planned = plan("FROM base\nRUN x", ContainerConfig(env=["PATH=/bin", "X=a=b"]))
    assert dict(runs(planned)[0].env) == {"PATH": "/bin", "X": "a=b"}
    assert planned.state.settings.env == ["PATH=/bin", "X=a=b"]


def test_only_arguments_in_force_are_arguments_of_the_key() -> None:
    planned = plan("FROM base\nARG A=1\nARG B\nARG C=3\nENV C=env\nRUN x")
    assert runs(planned)[0].arguments == ("A",)
    assert planned.state.events[-1].created_by == "RUN |3 A=1 B= C=env /bin/sh -c x # buildkit"


def test_user_shell_and_directory_of_a_command() -> None:
    planned = plan(
        'FROM base\nUSER ann:staff\nWORKDIR /a\nWORKDIR b/../c\nSHELL ["/bin/bash", "-ec"]\nRUN x y\nRUN ["x", "$y"]'
    )
    shell, direct = runs(planned)
    assert (shell.argv, shell.user, shell.cwd) == (("/bin/bash", "-ec", "x y"), "ann:staff", "/a/c")
    assert direct.argv == ("x", "$y")


@pytest.mark.parametrize(
    ("lines", "entrypoint", "cmd"),
    [
        ("", ["base-entry"], ["base-cmd"]),
        ("CMD x", ["base-entry"], ["/bin/sh", "-c", "x"]),
        ('ENTRYPOINT ["e"]', ["e"], None),
        ('CMD ["c"]\nENTRYPOINT ["e"]', ["e"], ["c"]),
        ("ENTRYPOINT e", ["/bin/sh", "-c", "e"], None),
        ("ENTRYPOINT []", None, None),
        ("CMD []", ["base-entry"], None),
    ],
)
def test_entrypoint_and_cmd(lines: str, entrypoint: list[str] | None, cmd: list[str] | None) -> None:
    planned = plan(f"FROM base\n{lines}\n", ContainerConfig(entrypoint=["base-entry"], cmd=["base-cmd"]))
    assert (planned.state.settings.entrypoint, planned.state.settings.cmd) == (entrypoint, cmd)


def test_settings_add_to_those_of_the_base() -> None:
    base = ContainerConfig(labels={"a": "1"}, exposed_ports={"80/tcp": {}}, volumes={"/old": {}}, on_build=["ENV O=1"])
    found = plan(
        'FROM base\nLABEL a=2 b=3\nEXPOSE 8000-8002/UDP\nVOLUME ["/new"]\nSTOPSIGNAL RTMIN+3\nONBUILD RUN y\n'
        'HEALTHCHECK --retries=2 CMD ["check", "it"]\nMAINTAINER me\n',
        base,
    )
    got = found.state.settings
    assert got.labels == {"a": "2", "b": "3"}
    assert set(got.exposed_ports or {}) == {"80/tcp", "8000/udp", "8001/udp", "8002/udp"}
    assert set(got.volumes or {}) == {"/old", "/new"}
    assert (got.stop_signal, got.on_build) == ("RTMIN+3", ["RUN y"])
    assert got.env == [f"PATH={settings.DEFAULT_PATH}", "O=1"]
    assert got.healthcheck is not None
    assert (got.healthcheck.test, got.healthcheck.retries) == (["CMD", "check", "it"], 2)
    assert found.state.author == "me"
    none = plan("FROM base\nHEALTHCHECK NONE\n").state.settings.healthcheck
    assert none is not None
    assert none.test == ["NONE"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("EXPOSE 70000", "invalid port: 70000"),
        ("EXPOSE 90-80", "invalid port"),
        ("EXPOSE web", "invalid port"),
        ("STOPSIGNAL SIGNOPE", "invalid signal"),
        ("STOPSIGNAL 0", "invalid signal"),
        ('VOLUME [""]', "empty string"),
        ("RUN --mount=type=cache,target=/ x", "nothing can be mounted on /"),
        ("RUN --mount=target=/c x", "the mount on /c needs a build context"),
        ("RUN --security=insecure x", "RUN --security=insecure is not allowed"),
        ("COPY --chmod=u+q <<f /b\nf", "--chmod: invalid mode 'u\\+q'"),
        ("COPY --from=$A a /b", "variable expansion"),
        ("COPY --from=7 a /b", "invalid stage index"),
        ("FROB x", "unknown instruction: FROB"),
    ],
)
def test_what_is_refused_with_its_line(line: str, message: str) -> None:
    with pytest.raises(DockerfileError, match=message) as caught:
        plan(f"FROM base\n\n{line}\n")
    assert caught.value.source.first == 3


def test_a_later_stage_cannot_be_copied_from_into_itself() -> None:
    with pytest.raises(DockerfileError, match="circular"):
        plan("FROM base AS a\nCOPY --from=a /x /y\n")


def test_a_stage_that_stands_later_is_built_first() -> None:
    planned = plan("FROM base AS a\nCOPY --from=b /x /y\nFROM base AS b\nRUN b\n", target="a")
    copy = next(vertex for vertex in planned.graph if isinstance(vertex.operation, CopyFiles))
    assert planned.graph[copy.inputs[1]].place.text == "RUN b"


@pytest.mark.parametrize(
    ("directory", "path", "expected"),
    [
        ("/", "a", "/a"),
        ("/w", "a/", "/w/a/"),
        ("/w", ".", "/w/"),
        ("/w", "./", "/w/"),
        ("/w", "..", "/"),
        ("/w/v", "../x/.", "/w/x/"),
        ("/w", "/", "/"),
        ("/", "//a//b", "/a/b"),
        ("w", "/../..", "/"),
    ],
)
def test_destinations_keep_what_says_that_they_are_directories(directory: str, path: str, expected: str) -> None:
    assert settings.absolute(directory, path) == expected


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_500, "1.5µs"),
        (20_000_000, "20ms"),
        (1_500_000_000, "1.5s"),
        (90_000_000_000, "1m30s"),
        (3_600_000_000_000, "1h0m0s"),
        (10_000_000_000, "10s"),
    ],
)
def test_durations_as_go_prints_them(nanoseconds: int, text: str) -> None:
    assert history.duration(nanoseconds) == text


@given(st.text(alphabet="ab.-_x*?[]\\^", min_size=1, max_size=8))
def test_any_protected_name_matches_itself(name: str) -> None:
    pattern = "".join(f"\\{char}" for char in name)
    assert not wildcards.has_wildcard(pattern)
    assert wildcards.unescape(pattern) == name
    assert wildcards.component(pattern).fullmatch(name)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*.py", "a.py", "a.pyc"),
        ("?", "a", "ab"),
        ("[a-c]x", "bx", "dx"),
        ("[^a-c]x", "dx", "bx"),
        ("a[\\]]", "a]", "a\\"),
        ("a*", "anything.at all", "b"),
    ],
)
def test_wildcards(pattern: str, yes: str, no: str) -> None:
    assert wildcards.component(pattern).fullmatch(yes)
    assert not wildcards.component(pattern).fullmatch(no)


@pytest.mark.parametrize("pattern", ["[", "[a", "[]", "[]a]", "[b-a]", "[-a]", "a\\", "[a-"])
def test_malformed_wildcards(pattern: str) -> None:
    with pytest.raises(InvalidInput, match="pattern"):
        wildcards.component(pattern)
