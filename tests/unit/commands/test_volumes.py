"""The verbs on volumes, against an engine in memory."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from jupyter_containers.commands import results, tables
from jupyter_containers.commands.context import Context
from jupyter_containers.commands.parser import parse
from jupyter_containers.commands.table import find
from jupyter_containers.errors import InvalidInput, UsageError
from jupyter_containers.events import Event, Output
from tests.support.fake_engine import FakeEngine

ANONYMOUS = "f" * 64


@pytest.fixture
def fake() -> FakeEngine:
    return FakeEngine()


def call(fake: FakeEngine, words: str | list[str], **context: Any) -> results.Result:
    command, rest = find(words.split() if isinstance(words, str) else words, program="p")
    surroundings = Context(lambda: fake, **context)  # type: ignore[arg-type, return-value]  # a stand-in
    return command.handler(surroundings, parse(command, rest, program="p"))


def test_create_hands_on_every_option(fake: FakeEngine) -> None:
    assert call(fake, "volume create -o type=tmpfs -o o=size=1m --label a=b data") == results.Lines(("data",))
    asked = {"driver": None, "opt": ("type=tmpfs", "o=size=1m"), "label": ("a=b",)}
    assert fake.asked[-1] == ("volume create data", asked)
    assert call(fake, "volume create") == results.Lines((ANONYMOUS,))


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("dangling=true", [ANONYMOUS]),
        ("dangling=0", ["data"]),
        ("name=at", ["data"]),
        ("label=tier=db", ["data"]),
        ("label=tier=x", []),
        ("driver=nfs", []),
    ],
)
def test_filters(fake: FakeEngine, query: str, names: list[str]) -> None:
    listing = call(fake, f"volume ls -f {query}")
    assert isinstance(listing, results.VolumeListing)
    assert [row.name for row in listing.rows] == names


def test_the_listing_has_docker_s_columns(fake: FakeEngine) -> None:
    def lines(words: str) -> list[str]:
        listing = call(fake, words)
        assert isinstance(listing, results.VolumeListing)
        return tables.listing(listing, datetime.now(UTC))

    assert lines("volume ls") == ["DRIVER    VOLUME NAME", "local     data", f"local     {ANONYMOUS}"]
    assert lines("volume ls -q") == ["data", ANONYMOUS]
    assert [line.split()[-2:] for line in lines("volume ls -s")] == [["LINKS", "SIZE"], ["1", "12B"], ["0", "7kB"]]


def test_one_that_fails_does_not_keep_the_others(fake: FakeEngine) -> None:
    assert call(fake, "volume rm -f data nope") == results.Lines(("data", "nope"))
    removed = call(fake, "volume rm nope data")
    assert isinstance(removed, results.Lines)
    assert (removed.lines, [error.message for error in removed.errors]) == (("data",), ["no such volume: nope"])


def test_inspect_finds_volumes_too(fake: FakeEngine) -> None:
    for words in ("volume inspect data", "inspect data", "inspect --type volume data"):
        assert call(fake, words) == results.Documents(({"Name": "data"},))


def test_content_is_copied_and_archived(fake: FakeEngine) -> None:
    for words, asked in (
        ("volume rename data other", "volume rename data other"),
        ("volume clone data other", "volume clone data other"),
        ("volume import data data.tar", "volume load data.tar data"),
        ("volume import data -", "volume load /dev/stdin data"),
        ("volume export data -o data.tar", "volume export data data.tar"),
    ):
        call(fake, words)
        assert fake.asked[-1][0] == asked
    told: list[Event] = []
    call(fake, "volume export data -o -", sink=told.append)
    assert told == [Output("stdout", b"archive")]


def test_pruning_volumes_with_a_name_must_be_meant(fake: FakeEngine) -> None:
    gone = call(fake, "volume prune")
    assert gone == results.Lines(("Deleted Volumes:", ANONYMOUS, "", "Total reclaimed space: 12B"))
    with pytest.raises(UsageError, match="deletes the data of every volume"):
        call(fake, "volume prune -a")
    only = call(fake, "volume prune -a -f --filter label=tier")
    assert only == results.Lines(("Deleted Volumes:", "data", "", "Total reclaimed space: 12B"))
    assert call(fake, "volume prune --filter label=x") == results.Lines(("Total reclaimed space: 0B",))


@pytest.mark.parametrize(
    "words", ["volume prune --filter until=1h", "volume ls -f x=y", "volume ls -f x", "volume export data"]
)
def test_mistakes_are_named(fake: FakeEngine, words: str) -> None:
    with pytest.raises((UsageError, InvalidInput)):
        call(fake, words)


def test_volumes_by_a_template(fake: FakeEngine) -> None:
    def lines(words: str | list[str]) -> list[str]:
        shown = call(fake, words)
        assert isinstance(shown, results.Lines)
        return list(shown.lines)

    assert lines(["volume", "ls", "--format", '{{.Name}} {{.Label "tier"}} {{.Links}}'])[0] == "data db 1"
    assert lines("volume ls --format {{.Size}}") == ["12B", "7kB"]
    assert json.loads(lines("volume ls --format json")[0])["Size"] == "N/A"
    table = lines(["volume", "ls", "--format", "table {{.Name}}\\t{{.Driver}}"])
    assert table[0].split() == ["VOLUME", "NAME", "DRIVER"]
    assert lines("volume inspect -f {{.Name}} data") == ["data"]
