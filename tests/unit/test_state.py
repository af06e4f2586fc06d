"""The state file: names move, containers are unique, several processes write at once."""

from __future__ import annotations

import multiprocessing
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.errors import ContainerNotFound, Corrupt, NameInUse, SystemFailure
from jupyter_containers.state import ContainerRow, ImageRow, State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    opened = State(tmp_path / "state.sqlite")
    yield opened
    opened.close()


def image(digit: str, *names: str, added: int = 1) -> ImageRow:
    return ImageRow(f"sha256:{digit * 64}", f"sha256:{digit * 64}", "application/x", 10, added, names)


def container(identity: str, name: str) -> ContainerRow:
    return ContainerRow(identity * 64, name, f"sha256:{'1' * 64}", 5, b"{}")


def test_a_name_moves_to_the_image_that_was_tagged_last(state: State) -> None:
    assert state.add_image(image("1", "r/a:latest")) == []
    assert state.add_image(image("2", "r/a:latest", added=2)) == [f"sha256:{'1' * 64}"]
    named = state.image_named("r/a:latest")
    assert named is not None
    assert named.digest == f"sha256:{'2' * 64}"
    assert [(row.digest[7], row.names) for row in state.images()] == [("2", ("r/a:latest",)), ("1", ())]


def test_images_are_found_by_a_prefix_of_their_id(state: State) -> None:
    state.add_image(image("a"))
    state.add_image(image("b"))
    assert [row.digest[7] for row in state.images_with_id("aaaa")] == ["a"]
    assert state.images_with_id("c") == []


def test_removing_an_image_takes_its_names(state: State) -> None:
    state.add_image(image("1", "r/a:1", "r/a:2"))
    assert state.remove_name("r/a:1")
    assert not state.remove_name("r/a:1")
    state.remove_image(f"sha256:{'1' * 64}")
    assert state.images() == []
    assert state.image_named("r/a:2") is None


def test_two_containers_cannot_have_one_name(state: State) -> None:
    state.add_container(container("a", "web"))
    with pytest.raises(NameInUse, match='"web" is already in use by container aaaaaaaaaaaa'):
        state.add_container(container("b", "web"))
    assert [row.id[0] for row in state.containers()] == ["a"]


def test_a_container_is_found_by_name_before_it_is_found_by_prefix(state: State) -> None:
    state.add_container(container("a", "bbb"))
    state.add_container(container("b", "web"))
    assert [row.name for row in state.find_containers("bbb")] == ["bbb"]
    assert [row.name for row in state.find_containers("bb")] == ["web"]


def test_nothing_is_looked_for_in_all_containers(state: State) -> None:
    """With 10,000 of them that would be seen."""
    plans = [
        row[3]
        for query in ("id = ? OR name = ?", "id >= ? AND id < ?")
        for row in state._connection.execute(f"EXPLAIN QUERY PLAN SELECT record FROM containers WHERE {query}", "ab")
    ]
    assert [plan for plan in plans if plan.startswith("SCAN")] == []
    asked: list[str] = []
    state._connection.set_trace_callback(asked.append)
    state.find_containers("ab")
    assert len(asked) == 2
    assert not any("substr" in query for query in asked)


def test_an_address_is_for_a_container_that_is_there(state: State) -> None:
    def take() -> None:
        with state.allocation("bridge") as (_held, taken):
            taken["10.0.0.2"] = "a" * 64

    with pytest.raises(ContainerNotFound):
        take()
    with state.allocation("bridge") as (held, _taken):
        assert held == {}


def _added(letter: bytes, data: bytes) -> bytes:
    return data + letter


def test_changes_of_two_processes_are_both_kept(state: State, tmp_path: Path) -> None:
    state.add_container(container("a", "web"))
    other = State(tmp_path / "state.sqlite")
    with ThreadPoolExecutor(2) as threads:
        for opened, letter in ((state, b"x"), (other, b"y")):
            for _ in range(20):
                threads.submit(opened.change_container, "a" * 64, partial(_added, letter))
    other.close()
    (row,) = state.containers()
    assert sorted(row.record.removeprefix(b"{}")) == sorted(b"x" * 20 + b"y" * 20)
    assert state.change_container("b" * 64, lambda data: data) is None


def test_addresses_are_taken_and_given_back(state: State) -> None:
    state.add_container(container("a", "web"))
    with state.allocation("bridge") as (held, taken):
        assert held == {}
        taken["10.0.0.2"] = "a" * 64
    with state.allocation("bridge") as (held, taken):
        assert held == {"10.0.0.2": "a" * 64}
    state.remove_container("a" * 64)
    with state.allocation("bridge") as (held, _taken):
        assert held == {}


def test_a_failed_allocation_changes_nothing(state: State) -> None:
    def fail() -> None:
        with state.allocation("bridge") as (_held, taken):
            taken["10.0.0.2"] = "x"
            raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        fail()
    with state.allocation("bridge") as (held, _taken):
        assert held == {}


def test_a_file_that_is_no_database_is_said_to_be_damaged(tmp_path: Path) -> None:
    (tmp_path / "state.sqlite").write_bytes(b"not a database, and longer than the header of one " * 100)
    with pytest.raises(Corrupt, match="is damaged"):
        State(tmp_path / "state.sqlite")


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "state.sqlite")
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(Corrupt, match="newer version"):
        State(tmp_path / "state.sqlite")


def _add_many(path: Path, worker: int) -> None:
    opened = State(path)
    for number in range(25):
        opened.add_container(ContainerRow(f"{worker}-{number}", f"w{worker}-{number}", "d", 1, b"{}"))
    opened.close()


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_add_many, args=(path, worker)) for worker in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    opened = State(path)
    assert len(opened.containers()) == 75
    opened.close()


def test_a_full_disk_is_told_and_the_file_stays_usable(tmp_path: Path) -> None:
    state = State(tmp_path / "state.sqlite")
    (pages,) = state._connection.execute("PRAGMA page_count").fetchone()
    state._connection.execute(f"PRAGMA max_page_count={pages}")
    row = ContainerRow("a" * 64, "big", "sha256:0", 1, bytes(200_000))
    with pytest.raises(SystemFailure, match="database or disk is full"):
        state.add_container(row)
    state.add_container(ContainerRow("b" * 64, "small", "sha256:0", 1, b"{}"))
    assert [kept.name for kept in state.containers()] == ["small"]
    state.close()
