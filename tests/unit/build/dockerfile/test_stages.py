"""Stages: scopes of arguments, what a target needs, and how names are found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.build import dockerfile
from jupyter_containers.build.dockerfile.stages import (
    PROXY_ARGS,
    StagePlan,
    argument_value,
    plan_stages,
    platform_args,
)
from jupyter_containers.errors import DockerfileError, UsageError
from jupyter_containers.oci.names import Platform

AMD64 = Platform("linux", "amd64")
ARM = Platform("linux", "arm", "v7")
CHAIN = "FROM a AS one\nFROM one AS two\nFROM b AS three\nCOPY --from=two x x\nFROM c AS four\n"


def plan(text: str, target: str | None = None, build: Platform = AMD64, **build_args: str) -> StagePlan:
    parsed = dockerfile.parse(text)
    return plan_stages(
        parsed.instructions,
        escape=parsed.escape,
        target=target,
        build_args=build_args,
        platform=ARM,
        build_platform=build,
    )


@pytest.mark.parametrize(
    ("target", "order"),
    [
        (None, ["four"]),
        ("", ["four"]),
        ("one", ["one"]),
        ("TWO", ["one", "two"]),
        ("three", ["one", "two", "three"]),
        ("2", ["one", "two", "three"]),
    ],
)
def test_a_target_needs_only_what_it_uses(target: str | None, order: list[str]) -> None:
    found = plan(CHAIN, target)
    assert [stage.title for stage in found.order] == order
    assert found.target is found.order[-1]
    assert {stage.title for stage in found.unused} == {"one", "two", "three", "four"} - set(order)


@pytest.mark.parametrize("target", ["five", "4", "-1"])
def test_an_unknown_target_is_refused(target: str) -> None:
    with pytest.raises(UsageError, match=f'target stage "{target}" could not be found') as caught:
        plan(CHAIN, target)
    assert caught.value.hint == "the file has the stages one, two, three, four"


def test_a_stage_may_have_a_number_for_its_place_only() -> None:
    stage = plan("FROM a\nFROM 0\n").stages[1]
    assert (stage.base_stage, stage.start.image) == (None, "0")


def test_build_arguments_win_over_defaults_and_automatic_ones() -> None:
    text = "ARG V=1\nARG W=$V\nARG X\nFROM a:$V-$W-$X-$TARGETARCH\n"
    assert plan(text).target.start.image == "a:1-1--arm"
    assert plan(text, V="2", X="x", TARGETARCH="mips").target.start.image == "a:2-2-x-mips"


def test_a_global_argument_without_value_is_not_set() -> None:
    found = plan("ARG X\nARG Y=y\nFROM a\n")
    assert "X" not in found.global_args
    assert found.global_args["Y"] == "y"


def test_other_build_arguments_are_not_visible_to_from() -> None:
    found = plan("FROM a${UNDECLARED}\n", UNDECLARED="x")
    assert found.target.start.image == "a"
    assert found.unset == ("UNDECLARED",)


def test_a_failing_default_names_its_line() -> None:
    with pytest.raises(DockerfileError, match=r"^Dockerfile:2: .*: X: must-be-given$"):
        plan("ARG A=1\nARG B=${X:?must-be-given}\nFROM a\n")


def test_platform_arguments() -> None:
    assert platform_args(ARM, AMD64, stage="test") == {
        "BUILDPLATFORM": "linux/amd64",
        "BUILDOS": "linux",
        "BUILDARCH": "amd64",
        "BUILDVARIANT": "",
        "TARGETPLATFORM": "linux/arm/v7",
        "TARGETOS": "linux",
        "TARGETARCH": "arm",
        "TARGETVARIANT": "v7",
        "TARGETSTAGE": "test",
    }
    assert platform_args(ARM, ARM)["TARGETSTAGE"] == "default"


def test_from_platform_is_resolved() -> None:
    assert plan("FROM --platform=$BUILDPLATFORM a\n").target.platform == AMD64
    assert plan("FROM --platform= a\n").target.platform is None


@pytest.mark.parametrize(
    ("default", "build_args", "global_args", "value"),
    [
        (None, {}, {}, None),
        ("d", {}, {}, "d"),
        (None, {}, {"A": "g"}, "g"),
        ("d", {}, {"A": "g"}, "d"),
        ("", {}, {"A": "g"}, ""),
        ("d", {"A": "b"}, {"A": "g"}, "b"),
        (None, {"A": ""}, {"A": "g"}, ""),
    ],
)
def test_the_value_of_an_argument(
    default: str | None, build_args: dict[str, str], global_args: dict[str, str], value: str | None
) -> None:
    assert argument_value("A", default, build_args=build_args, global_args=global_args) == value


def test_proxies_are_known_in_both_cases() -> None:
    assert {"HTTP_PROXY", "no_proxy"} <= PROXY_ARGS
    assert len(PROXY_ARGS) == 10


def test_a_source_is_a_stage_or_an_image() -> None:
    found = plan(CHAIN)
    copy = found.stages[2].instructions[0]
    assert found.source("One", copy) is found.stages[0]
    assert found.source("3", copy) is found.stages[3]
    assert found.source("busybox:1", copy) == "busybox:1"
    with pytest.raises(DockerfileError, match=r"^Dockerfile:4: invalid stage index 9"):
        found.source("9", copy)
    with pytest.raises(DockerfileError, match="variable expansion is not supported"):
        found.source("$x", copy)


def test_stages_needed_for_triggers_come_in_order() -> None:
    found = plan(CHAIN)
    assert [stage.title for stage in found.needed_for([3, 2])] == ["four", "one", "two", "three"]


def test_a_circle_is_named_even_where_the_target_is_outside_it() -> None:
    text = "FROM x\nFROM a AS p\nCOPY --from=q x x\nFROM a AS q\nCOPY --from=p x x\nFROM q AS r\nFROM x AS last\n"
    with pytest.raises(DockerfileError, match=r"^Dockerfile:2: circular dependency detected on stage: p$"):
        plan(text)


def test_thousands_of_stages_are_no_problem() -> None:
    text = "FROM a AS s0\n" + "".join(f"FROM s{number} AS s{number + 1}\n" for number in range(1500))
    assert len(plan(text).order) == 1501


@given(st.lists(st.lists(st.integers(0, 7), max_size=3), min_size=1, max_size=8))
def test_every_stage_comes_after_those_it_needs(graph: list[list[int]]) -> None:
    text = "".join(
        f"FROM image AS s{index}\n" + "".join(f"COPY --from=s{other} x x\n" for other in needs if other < len(graph))
        for index, needs in enumerate(graph)
    )
    try:
        found = plan(text)
    except DockerfileError as error:
        assert "circular" in error.message  # noqa: PT017 - both outcomes are right
        return
    seen: set[int] = set()
    for stage in found.needed_for(range(len(graph))):
        assert set(stage.needs) <= seen
        seen.add(stage.index)
    assert len(seen) == len(graph)
