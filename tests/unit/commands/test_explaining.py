from __future__ import annotations

import pytest

from jupyter_containers.commands import asked
from jupyter_containers.commands.context import Context
from jupyter_containers.commands.explaining import Explanation, about, docker_command
from jupyter_containers.commands.explanations import OWN, VERBS
from jupyter_containers.commands.parser import parse
from jupyter_containers.commands.results import Explained, Lines
from jupyter_containers.commands.table import every, find
from jupyter_containers.errors import ImageNotFound
from jupyter_containers.events import BuildFinished, StepFinished, StepStarted, Transfer
from tests.support.fake_engine import FakeEngine


def docker(line: str) -> tuple[str, tuple[str, ...]]:
    command, rest = find(line.split(), program="p")
    return docker_command(command, parse(command, rest, program="p"))


def test_every_verb_is_explained_and_no_other() -> None:
    assert set(VERBS) == {command.name for command in every()}
    for name, verb in VERBS.items():
        assert verb.does.endswith("."), name
        assert verb.touches, name
        assert not any(each.endswith(".") for each in verb.differs), name


def test_options_said_to_be_ours_are_options() -> None:
    known = {option.long for command in every() for option in command.options}
    assert set(OWN) <= known


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("run --rm -it alpine sh -c true", "docker run --rm --interactive --tty alpine sh -c true"),
        ("run -p 8080:80 -p 0.0.0.0:1:1 x", "docker run --publish=127.0.0.1:8080:80 --publish=0.0.0.0:1:1 x"),
        ("run -p 80 -p [::1]:1:1 x", "docker run --publish=127.0.0.1::80 '--publish=[::1]:1:1' x"),
        ("run -e A=b --limits drop x", "docker run --env=A=b x"),
        ("run --sig-proxy=false x", "docker run --sig-proxy=false x"),
        ("ps -a --filter name=x", "docker ps --all --filter=name=x"),
        ("builder du", "docker buildx du"),
        ("stop -t 3 web", "docker stop --time=3 web"),
        ("xray web", ""),
    ],
)
def test_dockers_command(line: str, words: str) -> None:
    assert docker(line)[0] == words


def test_differences_are_named() -> None:
    _, notes = docker("run -p 8080:80 -p 81:81 --limits drop x")
    assert [note.partition(":")[0] for note in notes] == [
        "a published port without an address is bound to 127.0.0.1; Docker binds it to all",
        "--limits is ours alone",
    ]
    assert docker("layers x")[1] == (
        "Docker has no such command: docker history and docker inspect show the halves of it",
    )


def test_what_is_asked_before_the_verb() -> None:
    assert asked.take(["--explain", "run", "--explain"]) == (frozenset({"explain"}), ["run", "--explain"])
    assert asked.take(["run"]) == (frozenset(), ["run"])
    assert asked.take([]) == (frozenset(), [])


def explained(line: str, fake: FakeEngine) -> Explained:
    command, rest = find(line.split(), program="p")
    context = Context(lambda: fake)  # type: ignore[arg-type, return-value]  # what a test gives
    found = asked.do({"explain"}, command, context, parse(command, rest, program="p"))
    assert isinstance(found, Explained)
    return found


def test_a_verb_is_done_and_told_by_its_events() -> None:
    fake = FakeEngine()
    fake.images.events = [
        StepStarted("a", 1, 2, "0", "FROM \x1bx", 1),
        StepFinished("a", cached=True, seconds=0.001),
        StepStarted("b", 2, 2, "0", "RUN y", 2),
        StepFinished("b", cached=False, seconds=0.5, reason="never built"),
        Transfer("blob", "downloading", 1, 10),
        Transfer("blob", "done", 10, 10),
        BuildFinished("sha256:0123456789abcdef"),
    ]
    found = explained("build -t x .", fake)
    told = found.page.value
    assert isinstance(told, Explanation)
    assert told.docker == "docker build --tag=x ."
    assert [(step.whose, step.name, step.words) for step in told.steps] == [
        ("build", "FROM \\x1bx", "from the cache"),
        ("build", "RUN y", "made: never built"),
        ("transfer", "blob", "done, 10 bytes"),
        ("build", "image", "the image 0123456789ab is there"),
    ]
    assert told.steps[1].took == 500_000
    assert fake.last("build")["tag"] == ["x"]
    assert found.error is None


def test_a_verb_that_fails_is_told_up_to_there() -> None:
    found = explained("rmi nothere", FakeEngine())
    assert isinstance(found.result, Lines) or isinstance(found.error, ImageNotFound)
    errors = found.result.errors if isinstance(found.result, Lines) else (found.error,)
    assert isinstance(errors[0], ImageNotFound)
    assert found.page.words[0] == "Docker: docker rmi nothere"


def test_what_is_known_before_it_is_done() -> None:
    command, rest = find(["rm", "x"], program="p")
    told = about(command, parse(command, rest, program="p"))
    assert "containers/<id>/" in told.touches
    assert told.steps == ()
