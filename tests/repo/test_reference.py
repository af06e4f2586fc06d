"""The reference of the guide is what the table of commands says."""

from __future__ import annotations

import pytest

from jupyter_containers.commands import help as help_text
from jupyter_containers.commands.model import Argument, Command, Option
from jupyter_containers.commands.results import Lines
from jupyter_containers.commands.table import every
from tools import reference


def test_the_reference_is_made_from_the_table() -> None:
    written = reference.PLACE.read_text(encoding="utf-8")
    assert written == reference.text(), "./dev reference writes it anew"


def test_every_option_and_name_of_every_verb_is_in_the_reference() -> None:
    sections = dict(part.split("\n", 1) for part in reference.text().replace("\n## ", "\n### ").split("\n### ")[1:])
    for command in every():
        section = sections[command.name]
        for name in command.names[1:]:
            assert f"`{name}`" in section
        if "The options of [" not in section:
            for option in command.options:
                assert f"`--{option.long}" in section, (command.name, option.long)


@pytest.mark.parametrize("command", every(), ids=lambda command: command.name)
def test_the_methods_of_a_verb_exist_and_its_help_names_them(command: Command) -> None:
    for name in command.python:
        assert callable(reference.method_of(name))
        assert f"Engine().{name}" in help_text.detail(command, "p")


def test_a_verb_is_told_with_all_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    option = Option("size", "How much", "s", "A|B", kind="size", repeatable=True, default="1m")
    names = ("grow", "volume grow")
    arguments = (Argument("VOLUME", maximum=None, completes="volume"),)
    made = Command(names, "volume", "Grow", lambda *_: Lines(()), (option,), arguments, python=("volumes.create",))
    monkeypatch.setattr(reference, "every", lambda: (made,))
    page = reference.text()
    assert "| Volumes | [grow](#grow) |" in page
    assert "| notebook | `%container grow [OPTIONS] VOLUME [VOLUME...]` |" in page
    assert "| Python | `engine.volumes.create(name=None, …)` |" in page
    assert "| `VOLUME` | one or more | a volume |" in page
    assert "| `-s`, `--size A\\|B` | size, as 64m; repeatable | `1m` | How much |" in page
