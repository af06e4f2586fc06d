"""Which fields of which instructions are expanded."""

from __future__ import annotations

import dataclasses

import pytest

from jupyter_containers.build import dockerfile
from jupyter_containers.build.dockerfile import instructions as ins
from jupyter_containers.errors import DockerfileError

ENV = {"v": "value", "sp": "1 2", "n": "7", "a": "old", "tab": "\tt"}


def expanded(line: str, *, head: str = "", unset: list[str] | None = None) -> ins.Instruction:
    parsed = dockerfile.parse(f"{head}FROM x\n{line}\n")
    return dockerfile.expand_instruction(parsed.instructions[-1], ENV, escape=parsed.escape, unset=unset)


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("FROM --platform=linux/$v $v:$n AS b", {"platform": "linux/value", "image": "value:7", "name": "b"}),
        ("COPY $v '$v' \"$sp\" /d/$v", {"sources": ("value", "$v", "1 2"), "destination": "/d/value"}),
        ('COPY ["$v x", "/$v"]', {"sources": ("value x",), "destination": "/value"}),
        ("COPY --chown=$n:$v --chmod=$n --from=$v a b", {"chown": "7:value", "chmod": "7", "from_": "$v"}),
        ("COPY --exclude=$v a b", {"exclude": ("value",)}),
        ("ADD --checksum=$v --chown=$n $sp b", {"checksum": "value", "chown": "7", "sources": ("1 2",)}),
        ("ENV a=new b=$a $v=1", {"pairs": (("a", "new"), ("b", "old"), ("value", "1"))}),
        ("ENV a b $v 'c'", {"pairs": (("a", "b value c"),)}),
        ('LABEL k="$v $unset"', {"pairs": (("k", "value "),)}),
        ("ARG x=$v y", {"pairs": (("x", "value"), ("y", None))}),
        ("WORKDIR /$v/${unset:-d}", {"path": "/value/d"}),
        ("USER $v:$n", {"user": "value:7"}),
        ("EXPOSE $n $sp/udp", {"ports": ("7", "1", "2/udp")}),
        ("VOLUME $v $sp", {"paths": ("value", "1 2")}),
        ("STOPSIGNAL $n", {"signal": "7"}),
        ("RUN --mount=type=cache,target=/$v,id='$sp' echo $v", {"mounts": ("type=cache,target=/value,id=1 2",)}),
        ("RUN echo $v", {"command": ins.ShellForm("echo $v")}),
        ('CMD ["$v"]', {"command": ins.ExecForm(("$v",))}),
        ("ENTRYPOINT $v", {"command": ins.ShellForm("$v")}),
        ("HEALTHCHECK CMD $v", {"command": ins.ShellForm("$v")}),
        ('SHELL ["$v"]', {"arguments": ("$v",)}),
        ("MAINTAINER $v", {"name": "$v"}),
        ("ONBUILD ENV a=$v", {"trigger": "ENV a=$v"}),
    ],
)
def test_fields(line: str, fields: dict[str, object]) -> None:
    found = expanded(line)
    assert {name: getattr(found, name) for name in fields} == fields


def test_the_original_stays() -> None:
    instruction = dockerfile.parse("FROM x\nWORKDIR /$v\n").instructions[1]
    changed = dockerfile.expand_instruction(instruction, ENV)
    assert instruction != changed
    assert isinstance(changed, ins.Workdir)
    assert dataclasses.replace(changed, path="/$v") == instruction
    assert changed.source == instruction.source


def test_heredocs_of_copy() -> None:
    found = expanded("COPY <<a <<'b' <<-c /d/\n$v \"q\"\na\n$v\nb\n\t$v\n\tc")
    assert isinstance(found, ins.Copy)
    assert [document.text for document in found.heredocs] == ['value "q"\n', "$v\n", "value\n"]


def test_tabs_that_a_variable_brings_in_stay() -> None:
    found = expanded("COPY <<-a /d\n\t$tab\n\ta")
    assert isinstance(found, ins.Copy)
    assert found.heredocs[0].text == "\tt\n"


def test_heredocs_of_run_are_left_to_the_shell() -> None:
    found = expanded("RUN <<a\n$v\na")
    assert isinstance(found, ins.Run)
    assert found.shell_text == "$v\n"


def test_the_escape_character_of_the_file_counts() -> None:
    found = expanded("ENV a=`$v b=\\$v", head="# escape=`\n")
    assert isinstance(found, ins.Env)
    assert found.pairs == (("a", "$v"), ("b", "\\value"))


def test_unset_names_are_reported() -> None:
    unset = ["known"]
    expanded("ENV a=$x b=${y:-1} c=$x$z d=$known", unset=unset)
    assert unset == ["known", "x", "z"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ENV a=${b", "missing '}'"),
        ("USER ${u:?give a user}", "u: give a user"),
        ("RUN --mount=type=cache,target=/x,uid=$v true", "invalid value value for uid"),
        ("RUN --mount=type=bind,target=/x,from=$v true", "'from' doesn't support variable expansion"),
        ("RUN --mount=type=$v,target=/x true", 'unsupported mount type "value"'),
    ],
)
def test_errors_name_the_line(line: str, message: str) -> None:
    with pytest.raises(DockerfileError, match=r"^Dockerfile:2: ") as caught:
        expanded(line)
    assert message in caught.value.message
    assert caught.value.text == line


@pytest.mark.parametrize(
    ("line", "script", "text"),
    [
        ("RUN <<E\na\nE", "a\n", "a\n"),
        ("RUN <<-E\n\ta\n\tE", "a\n", "a\n"),
        ("RUN <<'E'\na\nE", "a\n", "a\n"),
        ("RUN <<E sh -x\na\nE", None, "<<E sh -x\na\nE"),
        ("RUN cat <<E <<F\na\nE\nb\nF", None, "cat <<E <<F\na\nE\nb\nF"),
        ("RUN cat <<-E\n\ta\n\tE", None, "cat <<-E\n\ta\nE"),
        ("RUN echo", None, "echo"),
    ],
)
def test_what_the_shell_is_given(line: str, script: str | None, text: str) -> None:
    run = dockerfile.parse(f"FROM x\n{line}\n").instructions[1]
    assert isinstance(run, ins.Run)
    assert (run.script.text if run.script else None) == script
    assert run.shell_text == text
