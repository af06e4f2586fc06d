"""Expansion of words, by a table in plain text.

``python -m tests.unit.build.dockerfile.test_expand --regenerate`` writes the right-hand side of the table anew.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.build.dockerfile.expand import Expander
from jupyter_containers.errors import DockerfileError, SourceRange

TABLE = Path(__file__).parents[3] / "corpus" / "dockerfile" / "expand.txt"
ARROW = " => "


@dataclass(frozen=True)
class Row:
    line: int
    word: str
    expected: str
    env: dict[str, str]
    escape: str

    def actual(self) -> str:
        expander = Expander(self.env, escape=self.escape)
        try:
            text, words = expander.word(self.word), expander.words(self.word)
        except DockerfileError as error:
            return f"error: {error.message.rpartition(': ')[2]}"
        shown = json.dumps(text, ensure_ascii=False)
        if words != [text]:
            shown += " | " + json.dumps(words, ensure_ascii=False)
        return shown + (f" (unset: {' '.join(expander.unset)})" if expander.unset else "")


def _environment(line: str) -> dict[str, str]:
    env: dict[str, str] = {}
    name = ""
    for part in line.split(" "):
        head, equals, tail = part.partition("=")
        if equals:
            name = head
            env[name] = tail
        else:
            env[name] += f" {part}"
    return env


def read_table(text: str) -> list[Row]:
    rows: list[Row] = []
    env: dict[str, str] = {}
    escape = "\\"
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("env "):
            env = _environment(line.removeprefix("env "))
        elif line.startswith("escape "):
            escape = line.removeprefix("escape ")
        elif ARROW in line and not line.startswith("# "):
            word, _, expected = line.rpartition(ARROW)
            rows.append(Row(number, word, expected, env, escape))
    return rows


def regenerate() -> None:
    text = TABLE.read_text(encoding="utf-8")
    lines = text.split("\n")
    for row in read_table(text):
        lines[row.line - 1] = row.word + ARROW + row.actual()
    TABLE.write_text("\n".join(lines), encoding="utf-8")


ROWS = read_table(TABLE.read_text(encoding="utf-8"))


def test_the_table_is_complete() -> None:
    assert len(ROWS) >= 150
    assert {row.escape for row in ROWS} == {"\\", "`"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"line {row.line}")
def test_table(row: Row) -> None:
    assert row.actual() == row.expected


def test_an_error_names_the_place_and_the_word() -> None:
    expander = Expander({}, source=SourceRange("Dockerfile", 7, 8), text="COPY ${x")
    with pytest.raises(DockerfileError, match=r"^Dockerfile:7-8: failed to process '\$\{x': missing '}'") as caught:
        expander.word("${x")
    assert caught.value.text == "COPY ${x"


def test_unset_names_are_collected_once_and_in_order() -> None:
    expander = Expander({"set": "1"})
    expander.word("$b $a $set ${b} ${c:-x} ${d+x}")
    expander.word("$a ${e#x}")
    assert expander.unset == ["b", "a", "e"]


def test_unset_names_survive_an_error() -> None:
    expander = Expander({})
    with pytest.raises(DockerfileError):
        expander.word("$a ${b")
    assert expander.unset == ["a"]


def test_a_document_keeps_quotes_and_ignores_the_escape_directive() -> None:
    expander = Expander({"v": "value"}, escape="`")
    assert expander.document("it's \"$v\" \\$v `$v ${x:-'y'}\n") == "it's \"value\" $v `value 'y'\n"


def test_nesting_is_bounded() -> None:
    assert Expander({}).word("${a:-" * 40 + "x" + "}" * 40) == "x"
    with pytest.raises(DockerfileError, match="nested more than"):
        Expander({}).word("${a:-" * 5000 + "}" * 5000)


@given(st.text(alphabet="$ab{}:-+?#%/\\'\" `*", max_size=40), st.sampled_from(["\\", "`"]))
def test_any_text_expands_or_is_refused(text: str, escape: str) -> None:
    expander = Expander({"a": "1", "b": "x y"}, escape=escape)
    try:
        words = expander.words(text)
    except DockerfileError as error:
        assert "failed to process" in error.message  # noqa: PT017 - both outcomes are right, nothing else is
    else:
        assert all(words)


@given(st.text(alphabet=st.characters(exclude_characters="$\\'\"", exclude_categories=["Cs"])))
def test_text_without_special_characters_is_itself(text: str) -> None:
    assert Expander({}).word(text) == text


if __name__ == "__main__" and "--regenerate" in sys.argv:
    regenerate()
