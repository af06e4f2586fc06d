"""Files taken into a container before it starts and out after its end."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from jupyter_containers.errors import InvalidInput, NotFound, StartFailed

if TYPE_CHECKING:
    from pathlib import Path

    from jupyter_containers.engine import Container, Engine, RunResult
    from jupyter_containers.engine.files.held_files import HeldFiles, OpenFiles


@pytest.fixture
def engine(apart: None, engine: Engine) -> Engine:  # noqa: ARG001 - entered before the engine is made
    return engine


class Attendant:
    """Does what a test asks for."""

    def __init__(self, before: Any, after: Any = lambda _files: None) -> None:
        self.before, self.after = before, after
        self.said: Any = None

    def created(self, _container: Container, files: OpenFiles) -> None:
        with files() as held:
            self.before(held)

    def ended(self, _container: Container, _result: RunResult, files: OpenFiles) -> None:
        with files() as held:
            self.said = self.after(held)


def run(engine: Engine, script: str, attendant: Attendant, **keywords: Any) -> Any:
    ran: Any = engine.containers.run(
        "starter", ["sh", "-c", script], remove=True, network="none", attendant=attendant, **keywords
    )
    return ran


def test_a_file_goes_in_and_another_comes_out(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a").write_text("A")

    def before(files: HeldFiles) -> None:
        files.write("/data/deep/x", b"in\n")
        files.write("/tmp/y", b"")
        files.copy_in(str(tmp_path / "tree"), "/tree")
        files.copy_in(str(tmp_path / "tree" / "a"), "/other/b")
        files.make_directory("/out", 0o777)

    def after(files: HeldFiles) -> Any:
        files.copy_out("/out", str(tmp_path / "results"))
        with pytest.raises(NotFound):
            files.read("/gone")
        with pytest.raises(InvalidInput, match="is a directory"):
            files.read("/out")
        return files.read("/out/r"), files.names("/out"), files.is_directory("/gone"), files.names("/gone")

    attendant = Attendant(before, after)
    script = "cat /data/deep/x /tree/a /other/b; stat -c %a /tmp /data/deep/x /out; echo out > /out/r; mkdir /out/d"
    ran = run(engine, script, attendant)
    assert (ran.exit_code, ran.stdout) == (0, "in\nAA1777\n644\n777\n")
    assert attendant.said == (b"out\n", ["d", "r"], None, [])
    assert sorted(os.listdir(tmp_path / "results")) == ["d", "r"]
    assert engine.containers.list(all=True) == []


def test_another_user_of_the_image_reads_and_writes(engine: Engine) -> None:

    def before(files: HeldFiles) -> None:
        files.write("/data/x", b"in\n")
        files.make_directory("/out", 0o777)

    attendant = Attendant(before, lambda files: files.read("/out/r"))
    try:
        ran = run(engine, "umask 077; cat /data/x > /out/r; id -u", attendant, user="1000")
    except StartFailed as error:
        if "no id of the host is mapped to it" not in error.message:
            raise
        pytest.skip(f"no other id here: {error}")
    assert (ran.exit_code, ran.stdout, attendant.said) == (0, "1000\n", b"in\n")


def test_links_of_the_image_are_followed_within_it(engine: Engine) -> None:
    engine.images.build(dockerfile="FROM starter\nRUN mkdir /real && ln -s /real /link\n", tag="linked", network="none")

    def before(files: HeldFiles) -> None:
        files.write("/link/x", b"in\n")

    attendant = Attendant(before, lambda files: files.read("/link/x"))
    ran: Any = engine.containers.run("linked", ["cat", "/real/x"], remove=True, network="none", attendant=attendant)
    assert (ran.stdout, attendant.said) == ("in\n", b"in\n")


def test_one_that_raises_leaves_nothing(engine: Engine) -> None:
    def refuse(_files: HeldFiles) -> None:
        raise ValueError("no")

    for attendant in (Attendant(refuse), Attendant(lambda _files: None, refuse)):
        with pytest.raises(ValueError, match="no"):
            run(engine, "true", attendant)
        assert engine.containers.list(all=True) == []


def test_files_of_a_running_container(engine: Engine) -> None:
    held: Any = engine.containers.run("starter", ["sleep", "1000"], detach=True, network="none")
    with engine.containers.files(held.id) as files:
        files.write("/data/x", b"1" * 3_000_000)
        assert files.read("/data/x") == b"1" * 3_000_000
        assert files.names("/data") == ["x"]
