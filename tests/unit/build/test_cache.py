"""Keys, explanations, and the cache in SQLite used by several connections."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.build import keys, verdicts
from jupyter_containers.build.cache import CacheRecord, SqliteCache
from jupyter_containers.build.graph import CopyFiles, Run
from jupyter_containers.build.interfaces import Layer
from jupyter_containers.build.keys import Material
from jupyter_containers.errors import Corrupt, PermissionDenied
from jupyter_containers.oci.image_spec import OCI_LAYER, Descriptor
from jupyter_containers.oci.names import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DIGEST = Digest.of(b"layer")
LAYER = Layer(Descriptor(OCI_LAYER, DIGEST, 5), DIGEST)
TEXTS = st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=4)


def material(**tables: dict[str, str]) -> Material:
    facts, arguments, variables, files = (tables.get(n, {}) for n in ("facts", "arguments", "variables", "files"))
    return Material("run", facts, arguments, variables, files)


def record(
    key: str, *, command: str = "c", family: str = "f", place: str = "p", layer: Layer | None = LAYER
) -> CacheRecord:
    return CacheRecord(key, material(facts={"parent": key}), layer, command, family, place, 1.5)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[SqliteCache]:
    opened = SqliteCache(tmp_path / "state.sqlite")
    yield opened
    opened.close()


@given(TEXTS, TEXTS, TEXTS)
def test_a_key_depends_on_content_and_not_on_order(
    facts: dict[str, str], env: dict[str, str], files: dict[str, str]
) -> None:
    one = material(facts=facts, variables=env, files=files)
    backwards = material(
        **{
            name: dict(reversed(list(table.items())))
            for name, table in (("facts", facts), ("variables", env), ("files", files))
        }
    )
    assert one.key() == backwards.key()
    assert Material.decode(one.encode()) == one
    assert material(facts=facts, variables=env, files={**files, "new": "x"}).key() != one.key()
    assert verdicts.compare(one, backwards) == ()


def run(**changes: object) -> Run:
    values: dict[str, object] = {
        "argv": ("sh",),
        "env": (("A", "1"), ("B", "2")),
        "arguments": ("A",),
        "cwd": "/",
        "user": "",
        **changes,
    }
    return Run(**values)  # type: ignore[arg-type]  # a test's own


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"argv": ("sh", "x")}, "command changed"),
        ({"env": (("A", "2"), ("B", "2"))}, "argument A changed"),
        ({"env": (("A", "1"), ("B", "3"))}, "variable B changed"),
        ({"env": (("A", "1"),)}, "variable B removed"),
        ({"cwd": "/x"}, "working directory changed"),
        ({"user": "ann"}, "user changed"),
        ({"network": "none"}, "network changed"),
        ({"extra_hosts": (("a", "1.2.3.4"),)}, "hosts changed"),
        ({"timestamp": 7}, "timestamp changed"),
    ],
)
def test_everything_a_run_depends_on_is_in_its_key_and_named(change: dict[str, object], reason: str) -> None:
    before = keys.run_material(run(), parent=DIGEST, platform="linux/amd64")
    after = keys.run_material(run(**change), parent=DIGEST, platform="linux/amd64")
    assert before.key() != after.key()
    assert verdicts.describe(verdicts.compare(before, after)) == reason


def test_a_proxy_is_not_in_the_key() -> None:
    plain = keys.run_material(run(), parent=None, platform="p")
    assert keys.run_material(run(proxy=(("HTTP_PROXY", "x"),)), parent=None, platform="p").key() == plain.key()
    assert keys.run_material(run(), parent=DIGEST, platform="p").key() != plain.key()
    assert keys.run_material(run(), parent=None, platform="q").key() != plain.key()


def test_descriptions_name_files_first_and_the_parent_only_alone() -> None:
    def copy(files: dict[str, str], parent: Digest) -> Material:
        return keys.copy_material(CopyFiles((".",), "/"), parent=parent, files=files)

    one = copy(dict.fromkeys("abcdef", "1"), DIGEST)
    other = Digest.of(b"x")
    assert verdicts.describe(verdicts.compare(one, copy(dict.fromkeys("abcdef", "1"), other))) == "parent changed"
    changed = copy({**dict.fromkeys("abcde", "2"), "g": "1"}, other)
    assert verdicts.describe(verdicts.compare(one, changed)) == (
        "file changed: a (content), b (content), c (content) and 2 more; file added: g; file removed: f"
    )
    assert verdicts.describe(()) == ""


@pytest.mark.parametrize(
    ("before", "after", "how"),
    [
        ("file 644 0:0 aa", "file 644 0:0 bb", "content"),
        ("file 644 0:0 aa", "file 755 5:6 aa", "mode 644 → 755, owner 0:0 → 5:6"),
        ("symlink 777 0:0 a b", "symlink 777 0:0 c", "link target a b → c"),
        ("file 644 0:0 aa", "dir 755 0:0", "kind file → dir"),
        ("dir 755 0:0", "dir 700 0:0", "mode 755 → 700"),
        ("char 600 0:0  1:3", "char 600 0:0  1:5", "device 1:3 → 1:5"),
        ("sha256:aa", "sha256:bb", "content"),
        (None, "file 644 0:0 aa", ""),
    ],
)
def test_how_a_file_differs(before: str | None, after: str, how: str) -> None:
    assert verdicts.Change("file", "x", before, after).how == how


def test_records_come_back(cache: SqliteCache) -> None:
    assert cache.get("a") is None
    assert cache.step("a") is None
    cache.put(record("a"))
    cache.put(record("b", layer=None))
    found = cache.get("a")
    assert found is not None
    assert (found.layer, found.material, found.seconds) == (LAYER, material(facts={"parent": "a"}), 1.5)
    assert found.created == found.used > 0
    assert cache.layers() == [LAYER]
    without = cache.get("b")
    assert without is not None
    assert without.layer is None
    assert [cache.step(entry.key) for entry in cache.steps()] == cache.steps()
    cache.remove(["a"])
    assert [entry.key for entry in cache.steps()] == ["b"]


def test_the_record_to_compare_with(cache: SqliteCache) -> None:
    assert cache.similar("f", "p", "c") is None
    cache.put(record("edited", command="other", place="p"))
    cache.put(record("elsewhere", command="c", family="another"))
    assert cache.similar("f", "p", "c") == cache.get("edited")
    cache.put(record("moved", command="c", place="q"))
    assert cache.similar("f", "p", "c") == cache.get("moved")
    cache.put(record("old", command="c", place="p"))
    cache.put(record("new", command="c", place="p"))
    assert cache.similar("f", "p", "c") == cache.get("new")
    cache.touch(["old"])
    assert cache.similar("f", "p", "c") == cache.get("old")
    assert [entry.key for entry in cache.steps()][-1] == "old"


def test_files_are_remembered_beyond_the_process(tmp_path: Path) -> None:
    cache = SqliteCache(tmp_path / "state.sqlite")
    cache.keep_files("/x", {b"": {b"a": b"1", b"\xff": b"2"}, b"d\xff": {b"b": b"3"}})
    cache.keep_files("/x", {b"": {b"a": b"4"}})
    cache.close()
    other = SqliteCache(tmp_path / "state.sqlite")
    assert other.files("/x", b"") == {b"a": b"4"}
    assert other.files("/x", b"d\xff") == {b"b": b"3"}
    assert other.files("/y", b"") == other.files("/x", b"d") == {}
    other.close()


def test_selections_are_remembered(cache: SqliteCache) -> None:
    assert cache.selection("k") is None
    cache.keep_selection("k", {"a": "1"})
    assert cache.selection("k") == {"a": "1"}


def test_several_connections_and_threads_write_at_once(tmp_path: Path) -> None:
    caches = [SqliteCache(tmp_path / "state.sqlite") for _ in range(2)]

    def fill(number: int) -> None:
        for step in range(20):
            caches[number % 2].put(record(f"{number}-{step}"))

    threads = [threading.Thread(target=fill, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(caches[0].steps()) == 80
    for cache in caches:
        cache.close()


def test_what_is_no_database_is_said_to_be_damaged(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("this is no database, and long enough to be sure of it" * 20)
    with pytest.raises(Corrupt, match="damaged"):
        SqliteCache(tmp_path / "bad")
    with pytest.raises(PermissionDenied, match="cannot open"):
        SqliteCache(tmp_path / "nosuch" / "file")


def test_a_damaged_record_is_said_to_be_that(cache: SqliteCache, tmp_path: Path) -> None:
    cache.put(record("a"))
    connection = sqlite3.connect(tmp_path / "state.sqlite")
    connection.execute("UPDATE build_records SET material = x'00'")
    connection.commit()
    connection.close()
    with pytest.raises(Corrupt, match="record a"):
        cache.get("a")


def test_a_cache_in_memory() -> None:
    cache = SqliteCache(None)
    cache.put(record("a"))
    assert cache.get("a") is not None
    cache.close()
