"""Volumes in real containers: filled once from the image, kept, shared, removed with who owned them."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from jupyter_containers.engine import Engine, RunResult
from jupyter_containers.engine.launch import namespaces
from jupyter_containers.errors import (
    Conflict,
    InvalidInput,
    LayerCorrupt,
    NameInUse,
    NotFound,
    StartFailed,
    Unsupported,
    VolumeNotFound,
)
from tests.support import leaks

DOCKERFILE = """FROM starter
RUN mkdir -p /data/sub /real && echo one > /data/a && chmod 640 /data/a && chmod 2750 /data \
    && ln -s /real /link && echo two > /real/b && ln -s a /data/l && echo text > /file
VOLUME ["/data", "/link", "/none"]
"""


@pytest.fixture
def volumes(engine: Engine) -> Engine:
    """An engine with an image that declares volumes."""
    engine.images.build(dockerfile=DOCKERFILE, tag="declares")
    return engine


def sh(engine: Engine, command: str, image: str = "declares", **options: Any) -> str:
    """What a shell prints; it must end with 0."""
    result = engine.containers.run(image, ["/bin/sh", "-c", command], **{"remove": True, **options})
    assert isinstance(result, RunResult)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def names(engine: Engine) -> list[str]:
    return [row.name for row in engine.volumes.list()]


def stored(engine: Engine) -> list[str]:
    """The data of volumes on disk."""
    root = engine.containers._parts.volumes.root
    return [name for name in os.listdir(root) if not name.startswith(".")]


# -- VOLUME ----------------------------------------------------------------------------------------------------------


def test_declared_volumes_have_the_image_s_content_and_can_be_written(volumes: Engine) -> None:
    script = "stat -c %a /data /data/a; readlink /data/l; cat /data/a /link/b; touch /data/x /real/y /none/z"
    assert sh(volumes, script, read_only=True) == "2750\n640\na\none\ntwo\n"
    assert names(volumes) == []
    assert stored(volumes) == []


@pytest.mark.parametrize("detach", [False, True])
def test_anonymous_volumes_live_as_long_as_their_container_with_rm(volumes: Engine, detach: bool) -> None:
    volumes.containers.run("declares", ["sleep", "0.2"], name="brief", detach=detach, remove=True)
    leaks.wait_until(lambda: volumes.containers.list(all=True) == [], what="the end of the container")
    assert names(volumes) == []
    assert stored(volumes) == []


def test_anonymous_volumes_outlive_a_container_without_rm(volumes: Engine) -> None:
    sh(volumes, "echo new > /data/new", remove=False, name="kept")
    rows = volumes.volumes.list()
    assert [(row.containers, row.anonymous, len(row.name)) for row in rows] == [(("kept",), True, 64)] * 3
    volumes.containers.start("kept")
    volumes.containers.wait("kept")
    volumes.containers.remove("kept")
    assert len(names(volumes)) == 3
    report = volumes.volumes.prune()
    assert sorted(report.removed) == sorted(row.name for row in rows)
    assert report.size == len("one\ntwo\nnew\n")
    assert stored(volumes) == []


def test_content_survives_stop_and_start(volumes: Engine) -> None:
    command = ["/bin/sh", "-c", "echo x >> /data/log; exec sleep 60"]
    volumes.containers.run("declares", command, name="again", detach=True, stop_signal="SIGKILL")
    log = volumes.containers.exec("again", ["cat", "/data/log"])
    assert isinstance(log, RunResult)
    leaks.wait_until(lambda: "x" in _exec(volumes, "again", "cat /data/log"), what="the first line")
    volumes.containers.stop("again")
    volumes.containers.start("again")
    leaks.wait_until(lambda: _exec(volumes, "again", "cat /data/log") == "x\nx\n", what="the second line")
    volumes.containers.remove("again", force=True, volumes=True)
    assert names(volumes) == []
    assert stored(volumes) == []


def _exec(engine: Engine, name: str, command: str) -> str:
    result = engine.containers.exec(name, ["/bin/sh", "-c", command])
    assert isinstance(result, RunResult)
    return result.stdout


def test_a_mount_on_the_place_of_a_declared_volume_takes_it(volumes: Engine, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine\n")
    options = {"volume": f"{tmp_path}:/data", "tmpfs": "/link", "mount": "type=tmpfs,target=/none"}
    assert sh(volumes, "ls /data /link /none", **options) == "/data:\nmine\n\n/link:\n\n/none:\n"
    assert names(volumes) == []


def test_nothing_is_left_of_a_container_that_did_not_start(volumes: Engine) -> None:
    with pytest.raises(StartFailed):
        volumes.containers.run("declares", ["/no/such/program"])
    assert names(volumes) == []
    with pytest.raises(InvalidInput, match="/file: the image has a file there"):
        volumes.containers.run("declares", ["true"], volume="/file")
    sh(volumes, "true", name="taken", remove=False)
    with pytest.raises(NameInUse):
        volumes.containers.run("declares", ["true"], name="taken")
    volumes.containers.remove("taken", volumes=True)
    assert stored(volumes) == []


# -- named -----------------------------------------------------------------------------------------------------------


def test_a_named_volume_is_made_filled_once_and_kept(volumes: Engine) -> None:
    assert sh(volumes, "cat /data/a; echo changed > /data/a", volume="mine:/data") == "one\n"
    assert sh(volumes, "cat /data/a; rm -r /data/*", volume="mine:/data") == "changed\n"
    assert sh(volumes, "ls /data", volume="mine:/data") == "a\nl\nsub\n"  # an empty one is filled again, as by Docker
    assert sh(volumes, "ls /data", volume="other:/data:nocopy") == ""
    assert names(volumes) == ["mine", "other"]
    with pytest.raises(AssertionError, match="Read-only file system"):
        sh(volumes, "touch /data/x", volume="mine:/data:ro")


def test_a_volume_that_a_running_container_holds_is_not_exchanged(volumes: Engine) -> None:
    volumes.volumes.create("shared")
    volumes.containers.run("starter", ["sleep", "60"], name="holder", volume="shared:/x", detach=True)
    assert sh(volumes, "ls /data; touch /data/seen", volume="shared:/data") == ""
    assert _exec(volumes, "holder", "ls /x") == "seen\n"


def test_a_volume_in_use_is_not_removed_and_says_by_whom(volumes: Engine) -> None:
    sh(volumes, "true", volume="busy:/data", remove=False, name="user")
    with pytest.raises(Conflict, match="volume busy is in use by container user"):
        volumes.volumes.remove("busy", force=True)
    assert volumes.volumes.prune(all=True).removed == ()
    volumes.containers.remove("user", volumes=True)
    assert names(volumes) == ["busy"]  # -v is for anonymous ones
    volumes.volumes.remove("busy")
    assert stored(volumes) == []
    with pytest.raises(VolumeNotFound, match="no such volume: busy"):
        volumes.volumes.remove("busy")
    volumes.volumes.remove("busy", force=True)


def test_volumes_of_another_container(volumes: Engine) -> None:
    sh(volumes, "echo from > /data/f", name="source", remove=False)
    assert sh(volumes, "cat /data/f; touch /data/g", volumes_from="source") == "from\n"
    with pytest.raises(AssertionError, match="Read-only file system"):
        sh(volumes, "touch /data/h", volumes_from="source:ro")
    volumes.containers.run("starter", ["sleep", "60"], name="second", volumes_from="source", detach=True)
    volumes.containers.remove("source", volumes=True)
    assert len(names(volumes)) == 3  # the second one has them
    assert _exec(volumes, "second", "cat /data/f") == "from\n"
    volumes.containers.remove("second", force=True, volumes=True)
    assert names(volumes) == []


def test_what_happens_to_volumes_is_in_the_journal(volumes: Engine) -> None:
    volumes.volumes.create("named")
    sh(volumes, "true", "starter", volume="/anonymous")
    volumes.volumes.remove("named")
    told = [
        (each.action, each.id if each.id == "named" else len(each.id))
        for each in volumes.events(since="1h", until="0s", filters=["type=volume"])
    ]
    own = [(action, 64) for action in ("create", "mount", "unmount", "destroy")]
    assert told == [("create", "named"), *own, ("destroy", "named")]


# -- the long form ---------------------------------------------------------------------------------------------------


def test_a_part_of_a_volume_and_no_more(volumes: Engine, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret\n")
    sh(volumes, f"echo deep > /data/sub/d; ln -s {tmp_path} /data/out; ln -s sub /data/in", volume="mine:/data")
    options = {"image": "starter", "mount": "type=volume,source=mine,target=/m,volume-subpath=in"}
    assert sh(volumes, "cat /m/d", **options) == "deep\n"
    with pytest.raises(StartFailed, match="does not exist"):
        sh(volumes, "cat /m/secret", "starter", mount="type=volume,source=mine,target=/m,volume-subpath=out")


def test_an_image_can_be_looked_into(volumes: Engine) -> None:
    options = {"image": "starter", "mount": "type=image,source=declares,target=/i"}
    assert sh(volumes, "cat /i/data/a; touch /i/x 2>/dev/null || echo refused", **options) == "one\nrefused\n"
    for subpath, listed in (("data", "a\nl\nsub\n"), ("link", "b\n"), ("file", "/i\n")):
        part = f"type=image,source=declares,target=/i,image-subpath={subpath}"
        assert sh(volumes, "ls /i", "starter", mount=part) == listed
    merged = "type=image,source=declares,target=/i,image-subpath=etc"
    assert "passwd" in sh(volumes, "ls /i", "starter", mount=merged)
    with pytest.raises(NotFound, match="'nowhere' does not exist"):
        sh(volumes, "ls /i", "starter", mount="type=image,source=declares,target=/i,image-subpath=nowhere")


def test_a_bind_mount_must_have_a_source_unless_it_is_to_be_made(volumes: Engine, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="bind source path does not exist"):
        sh(volumes, "true", mount=f"type=bind,source={tmp_path}/no,target=/x")
    sh(volumes, "touch /x/made", mount=f"type=bind,source={tmp_path}/new,target=/x,bind-create-src")
    assert (tmp_path / "new" / "made").exists()


def test_a_file_on_a_directory_says_what_is_what(volumes: Engine, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartFailed, match="mount on /data: the source is a file and the place a directory"):
        sh(volumes, "true", volume=f"{tmp_path}/file:/data")
    with pytest.raises(StartFailed, match="mount on /file: the source is a directory and the place a file"):
        sh(volumes, "true", volume=f"{tmp_path}:/file")


@pytest.mark.root
def test_a_remapped_container_writes_a_volume_as_its_root(volumes: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "_ranges", lambda _path, _name: [(231_072, 65_536)])
    options = {"volume": "mine:/data", "userns": "remap"}
    assert sh(volumes, "id -u; stat -c %u /data/a; touch /data/made; chown 33 /data/made", **options) == "0\n0\n"
    data = Path(volumes.volumes.get("mine").mountpoint)
    assert [(data / name).stat().st_uid for name in ("a", "made")] == [0, 33]
    assert sh(volumes, "stat -c %u /data/made", volume="mine:/data") == "33\n"


@pytest.mark.root
@pytest.mark.parametrize(
    ("options", "writable"),
    [("readonly", False), ("readonly,bind-recursive=writable", True), ("readonly,bind-recursive=disabled", None)],
)
def test_what_read_only_means_for_mounts_below(
    volumes: Engine, tmp_path: Path, options: str, writable: bool | None
) -> None:
    below = tmp_path / "below"
    below.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(below)], check=True)
    try:
        (below / "file").touch()
        script = "touch /x/new 2>/dev/null && echo top; ls /x/below; touch /x/below/new 2>/dev/null && echo below; true"
        seen = sh(volumes, script, "starter", mount=f"type=bind,source={tmp_path},target=/x,{options}")
    finally:
        subprocess.run(["umount", str(below)], check=True)
    assert seen == {False: "file\n", True: "file\nbelow\n", None: ""}[writable]


def test_extended_attributes_come_along(volumes: Engine, store_root: Path) -> None:
    try:
        os.setxattr(store_root, "user.probe", b"1")
    except OSError:
        pytest.skip("the file system of the store has no extended attributes")
    sh(volumes, "true", volume="mine:/data")
    source = Path(volumes.volumes.get("mine").mountpoint)
    os.setxattr(source / "sub", "user.kept", b"yes")
    volumes.volumes.clone("mine", "second")
    assert os.getxattr(Path(volumes.volumes.get("second").mountpoint) / "sub", "user.kept") == b"yes"


def test_memory_has_docker_s_options_unless_others_are_asked_for(volumes: Engine) -> None:
    script = "grep ' /t[12] ' /proc/self/mounts"
    lines = sh(volumes, script, "starter", tmpfs=["/t1", "/t2:exec,size=1m"]).splitlines()
    assert [{"nosuid", "nodev", "noexec"} & set(line.split(",")) for line in lines] == [
        {"nosuid", "nodev", "noexec"},
        {"nosuid", "nodev"},
    ]


# -- the facade ------------------------------------------------------------------------------------------------------


def test_what_is_known_of_a_volume(volumes: Engine) -> None:
    made = volumes.volumes.create("one", label={"tier": "test"})
    assert volumes.volumes.create("one") == made
    sh(volumes, "echo four > /data/f", volume="one:/data:nocopy")
    (row,) = volumes.volumes.list(size=True)
    assert (row.size, row.labels, row.driver) == (5, {"tier": "test"}, "local")
    document = volumes.volumes.inspect("one")
    assert (document["Name"], document["Mountpoint"], document["UsageData"]["Size"]) == ("one", made.mountpoint, 5)
    volumes.containers.create("starter", name="user", volume=["one:/d:ro", "/tmp:/t"])
    renamed = volumes.volumes.rename("one", "two")
    shown = volumes.containers.inspect("user")["Mounts"]
    assert [(each["Type"], each["Destination"], each["RW"], each.get("Name")) for each in shown] == [
        ("volume", "/d", False, "two"),
        ("bind", "/t", True, None),
    ]
    assert shown[0]["Source"] == made.mountpoint
    (row_of_ps,) = volumes.containers.list(all=True)
    assert row_of_ps.mounts == {"/d": "two", "/t": "/tmp"}
    assert (renamed.id, renamed.name) == (made.id, "two")
    with pytest.raises(InvalidInput, match="'x' is no name"):
        volumes.volumes.create("x")


def test_a_clone_and_an_archive_have_the_same_content(volumes: Engine, tmp_path: Path) -> None:
    sh(volumes, "true", volume="mine:/data")
    volumes.volumes.clone("mine", "clone")
    volumes.volumes.export("mine", tmp_path / "mine.tar")
    volumes.volumes.load("loaded", tmp_path / "mine.tar")
    script = "for d in a b; do stat -c '%a %U' /$d /$d/a; readlink /$d/l; cat /$d/a; done"
    assert sh(volumes, script, "starter", volume=["clone:/a", "loaded:/b"]) == "2750 root\n640 root\na\none\n" * 2
    with pytest.raises(NameInUse):
        volumes.volumes.clone("mine", "loaded")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.tar"]


def test_a_damaged_archive_changes_nothing(volumes: Engine) -> None:
    sh(volumes, "true", volume="mine:/data")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("new")
        member.size = 100_000
        archive.addfile(member, io.BytesIO(b"x" * member.size))
    cut = volumes.containers._parts.paths.root / "cut.tar"
    cut.write_bytes(out.getvalue()[:50_000])
    for name in ("mine", "fresh"):
        with pytest.raises(LayerCorrupt):
            volumes.volumes.load(name, cut)
    assert names(volumes) == ["mine"]
    assert sh(volumes, "cat /data/a", volume="mine:/data") == "one\n"
    cut.write_bytes(out.getvalue())
    volumes.containers.run("starter", ["sleep", "60"], name="holder", volume="mine:/x", detach=True)
    with pytest.raises(Conflict, match="container holder"):
        volumes.volumes.load("mine", cut)
    volumes.containers.remove("holder", force=True)
    volumes.volumes.load("mine", cut)
    assert sh(volumes, "ls /x", "starter", volume="mine:/x") == "new\n"


def test_options_of_the_driver(volumes: Engine, tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    volumes.volumes.create("host", opt={"type": "none", "o": "bind,ro", "device": str(tmp_path)})
    volumes.volumes.create("memory", opt=["type=tmpfs", "o=size=1m,mode=700"])
    script = "ls /h; touch /h/x 2>/dev/null || echo refused; stat -c %a /m; df -k /m | tail -n 1"
    lines = sh(volumes, script, "starter", volume=["host:/h", "memory:/m"]).splitlines()
    assert lines[:3] == ["there", "refused", "700"]
    assert lines[3].split()[1] == "1024"
    with pytest.raises(Unsupported, match="no data of its own"):
        volumes.volumes.export("host", tmp_path / "x.tar")
    volumes.volumes.remove("host")
    assert (tmp_path / "there").exists()


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"type": "nfs", "device": ":/x", "o": "addr=1.2.3.4"}, Unsupported, "'nfs'"),
        ({"type": "ext4", "device": "/dev/sda1"}, Unsupported, "'ext4'"),
        ({"size": "1g"}, InvalidInput, "'size'"),
        ({"type": "none", "o": "bind", "device": "/no/such"}, NotFound, "/no/such"),
        ({"type": "none", "o": "bind", "device": "x"}, InvalidInput, "absolute"),
        ({"type": "none", "o": "bind,loud", "device": "/"}, InvalidInput, "'loud'"),
        ({"type": "tmpfs", "o": "sizes=1"}, InvalidInput, "'sizes=1'"),
    ],
)
def test_options_the_driver_does_not_have(
    engine: Engine, options: dict[str, str], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        engine.volumes.create("some", opt=options)
    assert engine.volumes.list() == []


# -- crashes ---------------------------------------------------------------------------------------------------------


def test_data_without_a_row_is_swept_and_the_rest_is_not(volumes: Engine, store_root: Path) -> None:
    kept = volumes.volumes.create("kept")
    store = volumes.containers._parts.volumes
    with store.draft() as draft, store.entering():
        draft.make()
        draft.place("f" * 64)
    assert len(stored(volumes)) == 2
    with Engine(store_root) as second:
        assert stored(second) == [kept.id]
        assert names(second) == ["kept"]


def test_a_snapshot_is_of_one_moment_and_a_diff_says_what_came_after(engine: Engine) -> None:
    engine.images.pull("starter")
    write = "while true; do echo x >>/data/a; echo x >>/data/b; done"
    engine.containers.run("starter", ["sh", "-c", write], detach=True, name="job", volume="data:/data", network="none")
    leaks.wait_until((Path(engine.volumes.get("data").mountpoint) / "b").exists, what="its first lines")
    kept = engine.volumes.snapshot("data", "before")
    assert kept.name == "before"
    assert engine.containers.inspect("job")["State"]["Status"] == "running"
    lines = [len((Path(kept.mountpoint) / name).read_bytes().split()) for name in ("a", "b")]
    assert lines[0] - lines[1] in {0, 1}  # in the middle of the loop, and not of a copy
    engine.containers.remove("job", force=True)
    engine.containers.run("starter", ["sh", "-c", "cd /data; rm a; echo >c; mkdir d"], remove=True, volume="data:/data")
    assert [(each.kind, each.path) for each in engine.volumes.diff("data", "before")] == [
        ("deleted", "/a"),
        ("changed", "/b"),
        ("added", "/c"),
        ("added", "/d"),
    ]
    assert engine.volumes.diff("before", "before") == []
    assert [row.labels for row in engine.volumes.list() if row.name == "before"] == [
        {"jupyter-containers.snapshot": "data"}
    ]
    with pytest.raises(NameInUse):
        engine.volumes.snapshot("data", "before")
    assert engine.volumes.snapshot("data").name.startswith("data-2")
