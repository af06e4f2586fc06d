from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.commands import results
from jupyter_containers.commands.model import Argument, Arguments, Command, Option
from jupyter_containers.commands.parser import HelpRequested, parse
from jupyter_containers.errors import UsageError


def _nothing(_context: object, _arguments: Arguments) -> results.Result:
    return results.Lines(())


RUN = Command(
    ("run", "container run"),
    "container",
    "Run",
    _nothing,
    (
        Option("interactive", "", "i", kind="bool"),
        Option("tty", "", "t", kind="bool"),
        Option("env", "", "e", "NAME=VALUE", repeatable=True),
        Option("workdir", "", "w", "DIR"),
        Option("cpus", "", None, "NUMBER", kind="decimal"),
        Option("pids-limit", "", None, "NUMBER", kind="integer"),
        Option("pull", "", None, "WHEN", choices=("always", "never")),
    ),
    (Argument("IMAGE"), Argument("COMMAND", minimum=0), Argument("ARG", minimum=0, maximum=None)),
    interspersed=False,
)
RM = Command(
    ("rm",), "container", "Remove", _nothing, (Option("force", "", "f", kind="bool"),), (Argument("C", 1, None),)
)
TAG = Command(("tag",), "image", "Tag", _nothing, (), (Argument("SOURCE"), Argument("TARGET")))


def read(command: Command, text: str) -> Arguments:
    return parse(command, text.split(), program="prog")


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("-it x", {"interactive": True, "tty": True}),
        ("-i=false x", {"interactive": False}),
        ("--tty=0 --interactive=T x", {"tty": False, "interactive": True}),
        ("-eA=b x", {"env": ("A=b",)}),
        ("-e A=b -e=C --env D --env=E=f=g x", {"env": ("A=b", "C", "D", "E=f=g")}),
        ("-ite A x", {"interactive": True, "tty": True, "env": ("A",)}),
        ("-w/a -w /b x", {"workdir": "/b"}),
        ("--cpus .5 --pids-limit=-1 x", {"cpus": 0.5, "pids-limit": -1}),
        ("--workdir= x", {"workdir": ""}),
        ("-w -x x", {"workdir": "-x"}),
    ],
)
def test_flags_follow_pflag(line: str, options: dict[str, object]) -> None:
    assert read(RUN, line) == Arguments(options, ("x",))  # type: ignore[arg-type]  # values of one test are of one kind


def test_options_end_at_the_image_of_run() -> None:
    assert read(RUN, "-i image ls -l --help").positionals == ("image", "ls", "-l", "--help")


def test_options_may_stand_between_arguments_elsewhere() -> None:
    assert read(RM, "a -f b").flag("force")
    assert read(RM, "a -f b").positionals == ("a", "b")


def test_two_dashes_end_the_options_and_one_is_an_argument() -> None:
    assert read(RM, "-- -f").positionals == ("-f",)
    assert read(RM, "-").positionals == ("-",)


@pytest.mark.parametrize(
    ("command", "line", "message"),
    [
        (RUN, "--workdr /x y", "unknown flag: --workdr"),
        (RUN, "-ix y", "unknown shorthand flag: 'x' in -x"),
        (RUN, "-e", "flag needs an argument: -e, as in -e NAME=VALUE"),
        (RUN, "--cpus x y", 'invalid argument "x" for "--cpus": it is no number'),
        (RUN, "--pids-limit 1.5 y", 'invalid argument "1.5" for "--pids-limit": it is no whole number'),
        (RUN, "--tty=maybe y", 'invalid argument "maybe" for "-t, --tty": it is neither true nor false'),
        (RUN, "--pull often y", 'invalid argument "often" for "--pull": it must be one of always, never'),
        (RUN, "", "run requires at least 1 argument: run [OPTIONS] IMAGE [COMMAND] [ARG...]"),
        (TAG, "a", "tag requires exactly 2 arguments: tag SOURCE TARGET"),
        (TAG, "a b c", "tag requires exactly 2 arguments: tag SOURCE TARGET"),
    ],
)
def test_mistakes_are_named_and_the_help_is_pointed_to(command: Command, line: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(command, line)
    assert caught.value.message == message
    assert (caught.value.hint or "").endswith(f"see 'prog {command.name} --help'")


def test_a_similar_flag_is_suggested() -> None:
    with pytest.raises(UsageError) as caught:
        read(RUN, "--workdr /x y")
    assert "did you mean --workdir?" in (caught.value.hint or "")


@pytest.mark.parametrize("line", ["--help", "-h", "-i --help", "-ih"])
def test_help_is_asked_for(line: str) -> None:
    with pytest.raises(HelpRequested) as caught:
        read(RUN, line)
    assert caught.value.command is RUN


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@given(image=WORDS.filter(lambda word: not word.startswith("-")), rest=st.lists(WORDS))
def test_what_follows_the_image_is_never_touched(image: str, rest: list[str]) -> None:
    assert parse(RUN, [image, *rest], program="p").positionals == (image, *rest)


@given(values=st.lists(WORDS))
def test_all_spellings_of_an_option_mean_the_same(values: list[str]) -> None:
    together = parse(RUN, [*(f"--env={value}" for value in values), "x"], program="p")
    apart = parse(RUN, [word for value in values for word in ("-e", value)] + ["x"], program="p")
    assert together == apart
    assert together.texts("env") == tuple(values)


@given(st.lists(WORDS))
def test_any_words_are_read_or_refused_with_a_usage_error(words: list[str]) -> None:
    try:
        parsed = parse(RUN, words, program="p")
    except (UsageError, HelpRequested):
        return
    assert parsed.positionals
