"""``--dry-run`` on a real store: what is told is what is done after it, and before that nothing has changed."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jupyter_containers import cli
from jupyter_containers.commands import dry_run, results
from jupyter_containers.commands.context import Context
from jupyter_containers.commands.parser import parse
from jupyter_containers.commands.table import every, find
from jupyter_containers.engine import Engine, RunOptions
from jupyter_containers.errors import ImageInUse, ImageNotFound, NameInUse, NotFound
from jupyter_containers.notebook.pages import Page
from tests.support import rootfs

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(not rootfs.available(), reason="needs a static busybox")


@pytest.fixture(scope="module")
def host(stores: Path) -> Iterator[Engine]:
    with Engine(stores / "dry") as engine:
        engine.images.pull("starter")
        engine.builds.disk_usage()  # now there is a build cache, though an empty one
        yield engine
        for row in engine.containers.list(all=True):
            engine.containers.remove(row.id, force=True)


def state_of(root: Path) -> dict[str, str]:
    """All files of a store with their content, and all rows, but not their copy and what says who has it open."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if (
            path.is_symlink()
            or name.startswith(("scratch", "state.copy", "state.changes", "run/spawners"))
            or name.endswith((".lock", ".sqlite-wal", ".sqlite-shm"))
        ):
            continue
        if path.name.endswith(".sqlite"):
            with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
                found[name] = "\n".join(connection.iterdump())
            connection.close()
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "directory"
    return found


def told(*words: str) -> tuple[int, str, str]:
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = cli.main(["--dry-run", *words])
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def command(host: Engine, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The store of the command line, which has had its first sweep."""
    root = Path(host.info().root)
    monkeypatch.setenv("JUPYTER_CONTAINERS_ROOT", str(root))
    return root


def test_every_verb_of_the_telling_and_refusing_ones_exists() -> None:
    names = {each.name for each in every()}
    assert names >= dry_run.TELLING | dry_run.CHANGES
    assert not dry_run.TELLING & dry_run.CHANGES


@pytest.mark.parametrize("verb", ["ps", "xray", "version", "logs", "images"])
@pytest.mark.usefixtures("command")
def test_verbs_that_change_nothing_refuse_it_by_name(verb: str) -> None:
    code, out, err = told(verb, *(["x"] if verb in {"xray", "logs"} else []))
    assert (code, out) == (125, "")
    assert f"--dry-run has no meaning for {verb}" in err


@pytest.mark.usefixtures("command")
def test_verbs_that_cannot_tell_refuse_it_by_name() -> None:
    code, _, err = told("exec", "nobody", "true")
    assert code == 125
    assert "what exec does shows only while it is done" in err
    code, _, err = told("--explain", "run", "starter")
    assert "leave one of them out" in err


def test_nothing_changes(host: Engine, command: Path, tmp_path: Path) -> None:
    made = host.containers.create("starter", ["true"], name="idle", volume=["kept:/data", "/anonymous"])
    host.images.tag("starter", "second:1")
    host.networks.create("lonely", subnet="10.91.7.0/24")
    (tmp_path / "Dockerfile").write_text("FROM starter AS a\nRUN true\nFROM starter\nCOPY Dockerfile /\n")
    missing = tmp_path / "not-there"
    before = state_of(command)
    lines = [
        ("run", "--rm", "-v", "new:/x", "-v", f"{missing}:/y", "-p", "8080:80", "starter", "echo", "hi"),
        ("create", "--name", "later", "docker.invalid/some/image:3", "true"),
        ("start", "idle"),
        ("stop", "idle"),
        ("restart", "idle"),
        ("rm", "-v", "idle"),
        ("container", "prune"),
        ("pull", "docker.invalid/some/image:3"),
        ("tag", "starter", "third"),
        ("rmi", "second:1"),
        ("image", "prune", "--all"),
        ("build", "-t", "made:1", str(tmp_path)),
        ("builder", "prune", "--all"),
        ("network", "create", "another"),
        ("network", "rm", "lonely"),
        ("network", "prune"),
        ("volume", "create", "fresh"),
        ("volume", "rm", "-f", "nothing"),
        ("volume", "prune", "--all"),
        ("system", "prune", "--all", "--volumes"),
    ]
    assert {name for line in lines for name in (line[0], " ".join(line[:2]))} >= dry_run.TELLING
    try:
        for line in lines:
            code, out, err = told(*line)
            assert (code, err) == (0, ""), line
            assert "Nothing was done" in out, line
            assert state_of(command) == before, line
        assert not missing.exists()
        assert [row.name for row in host.containers.list(all=True)] == ["idle"]
    finally:
        host.containers.remove(made.id, volumes=True)
        host.networks.remove("lonely")
        host.images.remove("second:1")
        host.volumes.remove("kept")


def test_a_run_is_told(host: Engine, tmp_path: Path) -> None:
    source = tmp_path / "made-by-run"
    options = RunOptions(name="told", remove=True, volume=("fresh:/x", f"{source}:/y"), publish=("8080:80",))
    deeds = [
        (deed.does, deed.kind, deed.name) for deed in host.dry_run.run("starter", ["echo", "a b"], options=options)
    ]
    assert ("make", "volume", "fresh") in deeds
    assert ("make", "directory", str(source)) in deeds
    assert ("publish", "port", "80/tcp") in deeds
    assert [deed for deed in deeds if deed[1] == "container"] == [
        ("create", "container", "told"),
        ("start", "container", "told"),
        ("remove", "container", "told"),
    ]
    created = next(deed for deed in host.dry_run.create("starter", ["echo", "a b"]) if deed.does == "create")
    assert created.detail == "command: echo 'a b'"


def test_an_image_that_is_missing_is_told_and_not_fetched(host: Engine) -> None:
    deeds = host.dry_run.run("docker.invalid/no/such:1")
    assert (deeds[0].does, deeds[0].kind, deeds[0].name) == ("pull", "image", "docker.invalid/no/such:1")
    assert host.dry_run.run("starter-python")[0].does == "make"
    with pytest.raises(ImageNotFound):
        host.images.get("starter-python")
    with pytest.raises(ImageNotFound):
        host.dry_run.run("docker.invalid/no/such:1", options=RunOptions(pull="never"))


def test_what_would_be_refused_is_refused(host: Engine, tmp_path: Path) -> None:
    made = host.containers.create("starter", ["true"], name="taken", volume=["held:/data"])
    try:
        with pytest.raises(NameInUse):
            host.dry_run.run("starter", options=RunOptions(name="taken"))
        with pytest.raises(ImageInUse):
            host.dry_run.remove_images(["starter"])
        with pytest.raises(NotFound):
            host.dry_run.run("starter", options=RunOptions(mount=(f"type=bind,src={tmp_path}/none,dst=/x",)))
        with pytest.raises(type(_error(lambda: host.volumes.remove("held")))):
            host.dry_run.remove_volume("held")
        with pytest.raises(type(_error(lambda: host.networks.remove("bridge")))):
            host.dry_run.remove_network("bridge")
    finally:
        host.containers.remove(made.id)
        host.volumes.remove("held")


def _error(do: object) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is, the other raises the same
        do()  # type: ignore[operator]
    return caught.value


@pytest.mark.usefixtures("command")
def test_one_that_fails_does_not_keep_the_others_from_being_told(host: Engine) -> None:
    made = host.containers.create("starter", ["true"], name="there")
    try:
        code, out, err = told("rm", "missing", "there")
        assert code == 1
        assert "remove" in out
        assert "there" in out
        assert "no such container: missing" in err
    finally:
        host.containers.remove(made.id)


def test_what_a_prune_tells_is_what_it_does(host: Engine) -> None:
    host.containers.run("starter", ["true"], name="ended", network="none")
    host.images.tag("starter", "pruned:1")
    deeds = host.dry_run.prune_containers()
    assert [(deed.kind, deed.name) for deed in deeds] == [("container", "ended")]
    assert deeds[0].frees is not None
    everything = host.dry_run.prune_everything(everything=True)
    assert any(deed.kind == "image" for deed in everything)
    assert not any(deed.kind == "image" for deed in host.dry_run.prune_images(everything=True))
    report = host.containers.prune()
    assert len(report.removed) == 1
    freed = [deed for deed in host.dry_run.prune_images(everything=True) if deed.kind == "data"]
    pruned = host.images.prune(all=True)
    host.images.pull("starter")
    assert freed[0].frees is not None
    assert freed[0].frees >= pruned.size > 0


def test_both_names_of_an_image(host: Engine) -> None:
    host.images.tag("starter", "twice:1")
    try:
        one = [deed.kind for deed in host.dry_run.remove_images(["twice:1"])]
        both = [deed.kind for deed in host.dry_run.remove_images(["twice:1", "starter"])]
    finally:
        host.images.remove("twice:1")
    assert one == ["name"]
    assert both == ["name", "name", "image", "data"]


def test_a_build_is_told(host: Engine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM starter AS unused\nRUN false\nFROM starter AS last\nRUN true\n")
    deeds = host.dry_run.build(tmp_path, tag="built:1")
    assert [(deed.does, deed.detail) for deed in deeds if deed.kind == "step"] == [
        ("do", "FROM starter AS last"),
        ("do", "RUN true"),
        ("skip", "FROM starter AS unused"),
        ("skip", "RUN false"),
    ]
    assert (deeds[-1].does, deeds[-1].name) == ("make", "built:1")


def test_a_page_in_a_notebook(host: Engine) -> None:
    verb, rest = find(["volume", "create", "abc"], program="p")
    result = dry_run.tell(verb, Context(lambda: host), parse(verb, rest, program="p"))
    assert isinstance(result, results.Page)
    page = Page(result)
    assert list(page["would do"]["name"]) == ["abc"]
    assert isinstance(page.value, dry_run.Intention)
    assert [deed.name for deed in page.value.deeds] == ["abc"]
