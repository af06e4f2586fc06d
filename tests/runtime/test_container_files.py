"""``cp``, ``export``, ``diff`` and ``commit``: each rule of Docker's, by our command line, and by Docker's own where
dockerd runs."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.engine import Engine, RunResult
from jupyter_containers.errors import (
    Conflict,
    ContainerNotFound,
    InvalidInput,
    LayerCorrupt,
    NotFound,
    PermissionDenied,
    SystemFailure,
)
from tests.support import verbs
from tests.support.leaks import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.verbs import Program

SOURCE = {"src": None, "src/dir": None, "src/dir/a": "A", "src/dir/sub": None, "src/dir/sub/b": "B"}
LINKS = {"src/flink": "@dir/a", "src/dlink": "@dir", "src/gone": "@nowhere"}
PLACES = {
    "there": None,
    "file": "old",
    "clash": None,
    "clash/dir": "old",
    "over": None,
    "over/a": None,
    "tolink": "@there",
    "tofile": "@file",
    "tonew": "@new",
}
TREE = {"dir": None, "dir/a": "A", "dir/sub": None, "dir/sub/b": "B"}
INSIDE = {"a": "A", "sub": None, "sub/b": "B"}


def below(name: str, tree: dict[str, str | None]) -> dict[str, str | None]:
    return {f"{name}/{path}": content for path, content in tree.items()}


# options, source, destination: what is there afterwards, or words of the error
RULES: list[tuple[str, str, str, dict[str, str | None] | str]] = [
    ("", "dir", "there", below("there", TREE)),
    ("", "dir/", "there", below("there", TREE)),
    ("", "dir/.", "there", below("there", INSIDE)),
    ("", "dir", "new", {"new": None, **below("new", INSIDE)}),
    ("", "dir/.", "new", {"new": None, **below("new", INSIDE)}),
    ("", "dir", "new/", {"new": None, **below("new", INSIDE)}),
    ("", "dir", "file", "cannot copy"),
    ("", "dir", "clash", "cannot overwrite non-directory"),
    ("", "dir/a", "there", {"there/a": "A"}),
    ("", "dir/a", "there/", {"there/a": "A"}),
    ("", "dir/a", "new", {"new": "A"}),
    ("", "dir/a", "new/", "director"),
    ("", "dir/a", "file", {"file": "A"}),
    ("", "dir/a", "no/such", "no"),
    ("", "dir/a", "over", "cannot overwrite directory"),
    ("", "dir/a", "tolink", {"there/a": "A"}),
    ("", "dir/a", "tofile", {"file": "A"}),
    ("", "dir/a", "tonew", {"new": "A"}),
    ("", "flink", "new", {"new": "@dir/a"}),
    ("-L", "flink", "new", {"new": "A"}),
    ("-L", "flink", "there", {"there/flink": "A"}),
    ("", "dlink", "there", {"there/dlink": "@dir"}),
    ("", "dlink/.", "there", below("there", INSIDE)),
    ("-L", "dlink", "there", {"there/dlink": None, **below("there/dlink", INSIDE)}),
    ("", "gone", "new", {"new": "@nowhere"}),
    ("", "missing", "new", "missing"),
]


def under(directory: str, *trees: dict[str, str | None]) -> dict[str, str | None]:
    """Trees below a directory, which is listed too."""
    return {directory: None, **{f"{directory}/{path}": found for tree in trees for path, found in tree.items()}}


def test_where_a_copy_goes_and_what_it_is_called(program: Program, tmp_path: Path) -> None:
    """The table in both directions: odd rules with a container that does not run, the others with one that does."""
    everything = {**SOURCE, **LINKS}
    for kind in (0, 1):
        cases = [(f"c{number}", rule) for number, rule in enumerate(RULES) if number % 2 == kind]
        container = ("web", "still")[kind]
        for name, _rule in cases:
            verbs.lay_out(under(name, PLACES), tmp_path)
        given = {path: found for name, _rule in cases for path, found in under(name, PLACES).items()}
        program.good("cp", "-", f"{container}:/tmp", given=verbs.tar_of({**everything, **given}))
        verbs.lay_out({} if kind else everything, tmp_path)
        for name, (options, source, target, expected) in cases:
            ends = [(f"{tmp_path}/src/{source}", f"{container}:/tmp/{name}/{target}")]
            ends += [(f"{container}:/tmp/src/{source}", f"{tmp_path}/{name}/{target}")]
            for number, words in enumerate(ends):
                answer = program("cp", *options.split(), *words)
                what = (container, options, words, answer.err)
                if isinstance(expected, str):
                    assert answer.status == 1, what
                    assert expected in answer.err, what
                    continue
                assert answer.status == 0, what
                archive = b"" if number else program("cp", f"{container}:/tmp/{name}/.", "-").out
                found = verbs.tree_at(tmp_path / name) if number else verbs.tree_of(archive)
                assert found == {**PLACES, **expected}, what


CHANGE = """
echo more >> /etc/passwd; rm /etc/group; mkdir /new /new/deep; echo x > /new/deep/x; chmod 700 /root
rm -rf /bare; mkdir /bare; echo y > /bare/y; touch /tmp/t; rm /tmp/t; ln -s x /link; echo no > /data/volume
"""
CHANGES = """
C /bare;D /bare/old;A /bare/y;C /etc;D /etc/group;C /etc/passwd;A /link;A /new;A /new/deep;A /new/deep/x;C /root
"""


def test_diff_commit_and_import(program: Program, tmp_path: Path) -> None:
    """From an archive to an image, a container of it, what that changed, an image of that; and what each image says."""
    archive = verbs.tar_of({"bare": None, "bare/old": "o", "root": None, "tmp": None, "data": None})
    (tmp_path / "base.tar").write_bytes(archive)
    program.good("export", "-o", tmp_path / "whole.tar", "still")
    change = ["-c", "ENV A=1 B=$A", "-c", 'CMD ["sh"]', "-c", "WORKDIR /tmp"]
    program.good("import", *change, "-m", "first", tmp_path / "whole.tar", "jc-files:1")
    # The export has no /bare: a container adds it, so that the second image can have it removed and made anew.
    program.good("create", "--network", "none", "--name", "made", "jc-files:1")
    try:
        program.good("cp", tmp_path / "base.tar", "made:/")
        with (tmp_path / "base.tar").open("rb") as stream:
            program.good("cp", "-", "made:/", given=stream.read())
        assert [line for line in program.good("diff", "made") if "/bare" in line] == ["A /bare", "A /bare/old"]
        identity = program.good("commit", "-a", "Ann", "-m", "second", "-c", "LABEL l=2", "made", "jc-files:2")
        assert identity[0].startswith("sha256:")
        words = ("run", "-d", "--network", "none", "-v", "/data", "-e", "C=3", "--name", "again", "jc-files:2")
        program.good(*words, "sh", "-c", CHANGE + "sleep 1000")
        try:
            settle(program, "again")
            assert sorted(program.good("diff", "again")) == sorted(CHANGES.strip().split(";"))
            third = program.good("commit", "again")[0]
            program.good("tag", third, "jc-files:3")
        finally:
            program.good("rm", "-f", "-v", "again")
    finally:
        program.good("rm", "made")
    check = "echo $A$B$C; pwd; ls /bare; cat /new/deep/x; ls /etc/group /data; tail -n 1 /etc/passwd"
    ran = program("run", "--rm", "--network", "none", "jc-files:3", "sh", "-c", check)
    assert ran.lines == ["13", "/tmp", "y", "x", "/data:", "more"], ran
    (second,) = json.loads(program("image", "inspect", "jc-files:2").out)
    config = second["Config"]
    assert (config["Cmd"], config["WorkingDir"], config["Labels"], second["Author"]) == (
        ["sh"],
        "/tmp",
        {"l": "2"},
        "Ann",
    )
    comments = program.good("history", "--no-trunc", "jc-files:3")
    assert [line.split()[-1] for line in comments[-2:]] == ["second", "first"], comments
    (third,) = json.loads(program("image", "inspect", "jc-files:3").out)
    assert [text for text in config["Env"] if not text.startswith("PATH=")] == ["A=1", "B="]
    assert third["Config"]["Volumes"] == {"/data": {}}
    assert third["Config"]["Cmd"][:2] == ["sh", "-c"]
    assert len(third["RootFS"]["Layers"]) == 3
    for wrong in ("RUN true", "COPY a b", "no such"):
        assert program("commit", "-c", wrong, "web").status == 1
    (tmp_path / "cut.tar").write_bytes(archive[:700])
    assert program("import", tmp_path / "cut.tar", "jc-files:cut").status == 1
    assert len(program.good("images", "-q", "jc-files")) == 3
    program.good("rmi", "jc-files:1", "jc-files:2", "jc-files:3")


def settle(program: Program, name: str) -> None:
    """Wait until the script of a container sleeps."""
    wait_until(lambda: program("exec", name, "test", "-e", "/data/volume").status == 0, what="its changes")


@pytest.fixture
def box(apart: None, engine: Engine) -> Engine:  # noqa: ARG001 - entered before the engine is made
    """An engine with a container that runs, ``web``, and one that was never started, ``still``."""
    engine.images.pull("starter")
    engine.containers.run("starter", ["sleep", "1000"], detach=True, network="none", name="web", volume=["data:/data"])
    engine.containers.create("starter", ["true"], network="none", name="still", volume=["data:/data"])
    return engine


def said(engine: Engine, *command: str) -> str:
    result = engine.containers.exec("web", list(command))
    assert isinstance(result, RunResult)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_owners_modes_and_times(box: Engine, tmp_path: Path) -> None:
    """The user's own files are root's in the container; on the host all belongs to the user again."""
    source = tmp_path / "tool"
    source.write_text("#!/bin/sh\n")
    source.chmod(0o751)
    os.utime(source, ns=(1_700_000_000_123_456_789,) * 2)
    box.containers.copy_to("web", source, "/tool")
    assert said(box, "stat", "-c", "%u:%g %a %Y", "/tool") == "0:0 751 1700000000\n"
    assert (
        said(box, "sh", "-c", "chmod 4755 /tool; umask 777; mkdir /shut && echo x > /shut/x; chmod 0 /shut /shut/x")
        == ""
    )
    box.containers.copy_from("web", "/tool", tmp_path / "back")
    box.containers.copy_from("web", "/shut", tmp_path / "shut")
    back = (tmp_path / "back").stat()
    assert (back.st_uid, back.st_mtime_ns) == (os.geteuid(), 1_700_000_000_123_456_789)
    assert (tmp_path / "shut").stat().st_mode & 0o777 == 0
    (tmp_path / "shut").chmod(0o700)


def test_a_set_user_id_program_is_none_of_the_users(box: Engine, tmp_path: Path) -> None:
    """Its owner on the host is another one than in the container."""
    try:
        said(box, "sh", "-c", "cp /bin/busybox /su; chown 7:7 /su; chmod 6755 /su")
    except AssertionError:
        pytest.skip("this user's containers have one id")
    box.containers.copy_from("web", "/su", tmp_path / "su")
    assert (tmp_path / "su").stat().st_mode & 0o7777 == 0o755
    if os.geteuid() == 0:
        box.containers.copy_from("web", "/su", tmp_path / "kept", archive=True)
        kept = (tmp_path / "kept").stat()
        assert (kept.st_uid, kept.st_gid, kept.st_mode & 0o7777) == (7, 7, 0o6755)


def test_what_is_mounted_is_copied_too(box: Engine, tmp_path: Path) -> None:
    """A volume, also while the container does not run; memory and the kernel's files while it does."""
    (tmp_path / "x").write_text("x")
    box.containers.copy_to("still", tmp_path / "x", "/data/x")
    assert said(box, "cat", "/data/x") == "x"
    said(box, "sh", "-c", "echo memory > /dev/shm/m")
    box.containers.copy_from("web", "/dev/shm/m", tmp_path / "m")
    assert (tmp_path / "m").read_text() == "memory\n"
    box.containers.copy_from("web", "/proc/self/../meminfo", tmp_path / "meminfo")
    assert (tmp_path / "meminfo").read_text().startswith("MemTotal:")
    box.containers.copy_to("web", tmp_path / "x", "/etc/hosts")
    assert said(box, "cat", "/etc/hosts") == "x"


def test_a_large_file_and_an_archive_go_both_ways(box: Engine, tmp_path: Path) -> None:
    data = os.urandom(1 << 16) * 50 + b"end"
    (tmp_path / "big").write_bytes(data)
    for name in ("web", "still"):
        copied = box.containers.copy_to(name, tmp_path / "big", "/big")
        assert copied is not None
        assert copied.size == len(data)
        out = io.BytesIO()
        box.containers.copy_from(name, "/big", out)
        box.containers.copy_to(name, io.BytesIO(gzip.compress(out.getvalue())), "/data")
        box.containers.copy_from(name, "/data/big", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == data


def test_no_link_leads_out_of_a_container(box: Engine, tmp_path: Path) -> None:
    """Nor out of the directory of the host that takes a copy."""
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    said(box, "sh", "-c", f"mkdir -p /bad/deep; ln -s {tmp_path} /bad/out; ln -s / /bad/deep/root; mkdir -p {tmp_path}")
    with pytest.raises(NotFound):
        box.containers.copy_from("web", "/bad/out/secret", tmp_path / "got")
    (tmp_path / "mine").write_text("x")
    box.containers.copy_to("web", tmp_path / "mine", "/bad/out/secret")
    assert said(box, "cat", str(secret)) == "x"  # in the container's own tree
    assert secret.read_text() == "of the host"
    target = tmp_path / "target"
    target.mkdir()
    (target / "deep").symlink_to(tmp_path)
    with pytest.raises(Conflict, match="cannot overwrite"):
        box.containers.copy_from("web", "/bad/.", target)
    with pytest.raises(InvalidInput, match="leads out"):
        box.containers.copy_to("web", io.BytesIO(verbs.tar_of({"../x": "x"})), "/bad")


def test_a_copy_that_fails_leaves_nothing_half_made(box: Engine, tmp_path: Path) -> None:
    archive = verbs.tar_of({"one": "1", "two": "2" * 3_000_000})
    with pytest.raises(LayerCorrupt, match="ends in the middle"):
        box.containers.copy_to("web", io.BytesIO(archive[:2_000_000]), "/data")
    assert said(box, "ls", "-A", "/data") == "one\n"
    (tmp_path / "there").mkdir()
    box.containers.run("starter", ["sleep", "1000"], detach=True, network="none", name="fixed", read_only=True)
    (tmp_path / "x").write_text("x")
    with pytest.raises(PermissionDenied, match="read-only"):
        box.containers.copy_to("fixed", tmp_path / "x", "/x")
    with pytest.raises(ContainerNotFound):
        box.containers.copy_from("nobody", "/x", tmp_path)
    box.containers.stop("fixed", time=0)
    with pytest.raises(PermissionDenied, match="read-only"):
        box.containers.copy_to("fixed", tmp_path / "x", "/x")
    assert list((tmp_path / "there").iterdir()) == []


def test_export(box: Engine, tmp_path: Path) -> None:
    """What is mounted is left out; running or not."""
    said(box, "sh", "-c", "echo mine > /mine; echo kept > /data/kept")
    for name, there in (("web", True), ("still", False)):
        box.containers.export(name, tmp_path / name)
        tree = verbs.tree_of((tmp_path / name).read_bytes())
        assert ("mine" in tree) == there
        assert tree["etc/passwd"]
        assert not any(path.startswith(("data/", "proc/", "sys/")) for path in tree)
    with pytest.raises(ContainerNotFound):
        box.containers.export("nobody", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_full_file_system_is_said_and_left_as_it_was(box: Engine, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(3 << 20))
    box.containers.run(
        "starter", ["sleep", "1000"], detach=True, network="none", name="small", tmpfs=["/small:size=1m"]
    )
    with pytest.raises(SystemFailure, match="No space left") as caught:
        box.containers.copy_to("small", tmp_path / "big", "/small/big")
    assert "free some space" in (caught.value.hint or "")
    left = box.containers.exec("small", ["ls", "-A", "/small"])
    assert isinstance(left, RunResult)
    assert left.stdout == ""


@pytest.mark.root
@pytest.mark.usefixtures("apart")
def test_a_commit_on_a_full_disk_makes_no_image(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", tmp_path], check=True)
    with Engine(tmp_path / "s") as engine:
        engine.images.pull("starter")
        script = "head -c 25000000 /dev/zero > /big; echo done"
        engine.containers.run("starter", ["sh", "-c", script], network="none", name="big")
        with pytest.raises(SystemFailure, match=r"(?i)no space"):
            engine.containers.commit("big", "big:1")
        assert [row.repository for row in engine.images.list(all=True)] == ["starter"]
        (tmp_path / "out").mkdir()
        with pytest.raises(InvalidInput, match="No space left"):
            engine.containers.export("big", tmp_path / "out" / "big.tar")
        assert list((tmp_path / "out").iterdir()) == []
        engine.containers.remove("big")
        assert engine.containers.list(all=True) == []


def test_a_container_that_is_removed_ends_its_log_with_an_error(box: Engine) -> None:
    box.containers.run("starter", ["sh", "-c", "echo up; sleep 1000"], detach=True, network="none", name="gone")
    entries = box.containers.logs("gone", follow=True)
    assert next(entries).data == b"up\n"
    box.containers.remove("gone", force=True)
    with pytest.raises(ContainerNotFound, match="gone was removed while its log was followed"):
        list(entries)


class Quiet(SimpleHTTPRequestHandler):
    """Serves a directory and prints nothing."""

    def log_message(self, *_words: object) -> None:
        """Nothing."""


def test_an_archive_is_imported_from_an_address(engine: Engine, tmp_path: Path) -> None:
    archive = verbs.tar_of({"etc": None, "etc/name": "here"})
    (tmp_path / "base.tar.gz").write_bytes(gzip.compress(archive))
    (tmp_path / "bad.tar").write_bytes(archive[:700])
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever).start()
        where = f"127.0.0.1:{server.server_port}"
        try:
            made = engine.images.import_archive(f"http://somebody:secret@{where}/base.tar.gz", "base:1")
            with pytest.raises(NotFound, match=f"cannot fetch http://{where}/none.tar: the server says 404"):
                engine.images.import_archive(f"http://{where}/none.tar")
            with pytest.raises(LayerCorrupt, match=f"^http://{where}/bad.tar cannot be imported: ") as refused:
                engine.images.import_archive(f"http://somebody:secret@{where}/bad.tar")
            assert "whole tar archive" in str(refused.value.hint)
        finally:
            server.shutdown()
    assert [step.comment for step in engine.images.history("base:1")] == [f"Imported from http://{where}/base.tar.gz"]
    assert [row.id for row in engine.images.list(all=True)] == [made.id]
    assert [path.name for path in (engine.containers._parts.paths.root / "scratch").iterdir()] == ["lock"]
