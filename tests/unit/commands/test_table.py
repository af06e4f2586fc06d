from __future__ import annotations

import subprocess
import sys

import pytest

from jupyter_containers.commands import help as help_text
from jupyter_containers.commands.table import NOUNS, every, find, groups
from jupyter_containers.errors import UsageError


def test_no_name_is_used_twice() -> None:
    names = [name for command in every() for name in command.names]
    assert len(names) == len(set(names))
    assert not groups().intersection(names)  # else the first word would be taken for the verb


def test_no_more_is_imported_than_it_takes_to_find_a_verb() -> None:
    code = "import sys; from jupyter_containers.commands.table import find; find(['run', 'x'], program='p'); "
    code += "print(*(name.rpartition('.')[2] for name in sys.modules if 'commands.' in name))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(ended.stdout.split())
    assert "containers" in imported
    assert not imported & {"images", "builds", "volumes", "go_template", "tables", "humane"}


@pytest.mark.parametrize("command", every(), ids=lambda command: command.name)
def test_every_command_is_complete(command: object) -> None:
    from jupyter_containers.commands.model import Command

    assert isinstance(command, Command)
    longs = [option.long for option in command.options]
    shorts = [option.short for option in command.options if option.short]
    assert len(longs) == len(set(longs))
    assert len(shorts) == len(set(shorts))
    assert command.noun in NOUNS
    assert command.summary
    assert not command.summary.endswith(".")
    for option in command.options:
        assert option.help, option.long
        assert option.kind == "bool" or option.metavar, f"{option.long} needs a metavar"


@pytest.mark.parametrize(
    ("line", "name", "rest"),
    [
        ("ps -a", "ps", ["-a"]),
        ("container ls -a", "ps", ["-a"]),
        ("image rm x", "rmi", ["x"]),
        ("image ls", "images", []),
        ("system info", "info", []),
        ("image inspect x", "image inspect", ["x"]),
        ("inspect x", "inspect", ["x"]),
    ],
)
def test_verbs_are_found_by_either_spelling(line: str, name: str, rest: list[str]) -> None:
    command, words = find(line.split(), program="p")
    assert (command.name, words) == (name, rest)


@pytest.mark.parametrize(
    ("line", "hint"), [("rn", "'run'"), ("imags", "'images'"), ("image", "image goes with"), ("zzz", "'p --help'")]
)
def test_an_unknown_verb_is_answered_with_what_may_be_meant(line: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        find(line.split(), program="p")
    assert caught.value.message == f"unknown command: {line}"
    assert hint in (caught.value.hint or "")


def test_the_overview_lists_every_verb() -> None:
    text = help_text.overview("prog")
    assert text.startswith("Usage: prog COMMAND")
    for command in every():
        assert f"\n  {command.name} " in text


@pytest.mark.parametrize("command", every(), ids=lambda command: command.name)
def test_the_help_of_a_verb_names_all_its_options(command: object) -> None:
    from jupyter_containers.commands.model import Command

    assert isinstance(command, Command)
    text = help_text.detail(command, "prog")
    assert text.startswith(f"Usage: prog {command.name}")
    assert max(len(line) for line in text.splitlines()) <= 100
    for option in command.options:
        assert f"--{option.long}" in text
