"""config.md, "Mounts": order, places, sources, and every option that is not a file system's own."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conformance.harness import Bundle, Runtime


def options_of(bundle: Bundle, command: Runtime, place: str) -> set[str]:
    """The options of the topmost mount on a place, as /proc/self/mountinfo has them: its own and its file system's."""
    bundle.script(f"grep ' {place} ' /proc/self/mountinfo | tail -n 1")
    before, _, after = command.run(bundle).lines()[-1].partition(" - ")
    fields = before.split()
    return {*fields[5].split(","), *fields[6:], *after.split()[2].split(",")}


def data(tmp_path: Path) -> Path:
    directory = tmp_path / "data"
    directory.mkdir(mode=0o777, exist_ok=True)
    directory.chmod(0o777)
    return directory


@pytest.mark.clause("config.md", "Mounts", "mounts are made in the order in which they are listed")
def test_mounts_are_made_in_order(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    (data(tmp_path) / "inner").mkdir()
    (tmp_path / "data/inner/file").write_text("covered")
    bundle.mount("/place", "bind", source=str(tmp_path / "data"))
    bundle.mount("/place/inner", "mode=700", kind="tmpfs", source="tmpfs")
    bundle.mount("/seen", "bind", source=str(tmp_path / "data/inner"))
    bundle.script("ls /place/inner | wc -l; cat /seen/file")
    assert runtime.run(bundle).lines() == ["0", "covered"]


@pytest.mark.clause("config.md", "Mounts", "a later mount on the same place covers the earlier one")
@pytest.mark.deviates(runc="1.1 keeps the mode of the directory it covers")
def test_a_later_mount_covers(runtime: Runtime, bundle: Bundle) -> None:
    bundle.mount("/x", "mode=711", kind="tmpfs", source="tmpfs")
    bundle.mount("/x", "mode=755", kind="tmpfs", source="tmpfs")
    bundle.process["args"] = ["stat", "-c", "%a", "/x"]
    assert runtime.run(bundle).lines() == ["755"]


@pytest.mark.clause("config.md", "Mounts", "a relative destination is taken to be below the root")
def test_a_relative_destination(runtime: Runtime, bundle: Bundle) -> None:
    bundle.process["cwd"] = "/home"
    bundle.mount("made/here", "mode=711", kind="tmpfs", source="tmpfs")
    bundle.process["args"] = ["stat", "-c", "%a", "/made/here"]
    assert runtime.run(bundle).lines() == ["711"]


@pytest.mark.clause("config.md", "Mounts", "a bind mount's source is absolute, or relative to the bundle")
def test_a_source_of_the_bundle(runtime: Runtime, bundle: Bundle) -> None:
    (bundle.path / "beside").write_text("beside the root")
    bundle.mount("/file", "bind", source="beside")
    bundle.process["args"] = ["cat", "/file"]
    assert runtime.run(bundle).lines() == ["beside the root"]


@pytest.mark.clause("config.md", "Mounts", "a mount with bind or rbind among its options is a bind mount of any type")
@pytest.mark.parametrize("kind", ["none", "bind", "", "ext4"])
def test_the_type_of_a_bind_mount_does_not_matter(runtime: Runtime, bundle: Bundle, tmp_path: Path, kind: str) -> None:
    (data(tmp_path) / "file").write_text("content")
    bundle.mount("/data", "rbind", source=str(tmp_path / "data"), kind=kind)
    bundle.process["args"] = ["cat", "/data/file"]
    assert runtime.run(bundle).lines() == ["content"]


@pytest.mark.clause("config.md", "Mounts", "a source that does not exist is an error")
def test_a_missing_source_is_an_error(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    bundle.mount("/data", "bind", source=str(tmp_path / "nowhere"))
    assert runtime.run(bundle).status != 0


@pytest.mark.clause("config.md", "Mounts", "a type the kernel does not have is an error")
def test_an_unknown_type_is_an_error(runtime: Runtime, bundle: Bundle) -> None:
    bundle.mount("/data", kind="nosuchfs", source="x")
    assert runtime.run(bundle).status != 0


# -- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.clause("config.md", "Linux mount options", "options of the mount itself hold for a new file system")
@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("ro", {"ro"}),
        ("nosuid", {"nosuid"}),
        ("nodev", {"nodev"}),
        ("noexec", {"noexec"}),
        ("noatime", {"noatime"}),
        ("nodiratime", {"nodiratime"}),
        ("relatime", {"relatime"}),
        ("sync", {"sync"}),
        ("dirsync", {"dirsync"}),
        ("size=64k", {"size=64k"}),
        ("mode=711", {"mode=711"}),
    ],
)
def test_an_option_of_a_new_file_system(runtime: Runtime, bundle: Bundle, given: str, shown: set[str]) -> None:
    bundle.mount("/x", given, kind="tmpfs", source="tmpfs")
    assert shown <= options_of(bundle, runtime, "/x")


@pytest.mark.clause("config.md", "Linux mount options", "the later of two opposite options holds")
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("ro", "rw"),
        ("nosuid", "suid"),
        ("nodev", "dev"),
        ("noexec", "exec"),
        ("sync", "async"),
        ("noatime", "atime"),
        ("nodiratime", "diratime"),
    ],
)
@pytest.mark.deviates(crun="1.8 clears nothing in a new file system")
def test_opposite_options(runtime: Runtime, bundle: Bundle, first: str, second: str) -> None:
    bundle.mount("/x", first, second, kind="tmpfs", source="tmpfs")
    assert first not in options_of(bundle, runtime, "/x")


@pytest.mark.clause("config.md", "Linux mount options", "options of the mount itself hold for a bind mount")
@pytest.mark.parametrize("given", ["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime"])
def test_an_option_of_a_bind_mount(runtime: Runtime, bundle: Bundle, tmp_path: Path, given: str) -> None:
    if os.geteuid() and "atime" in given:
        pytest.skip("the kernel lets an ordinary user not change how a mount of the host keeps times of access")
    bundle.mount("/x", "bind", given, source=str(data(tmp_path)))
    assert given in options_of(bundle, runtime, "/x")


@pytest.mark.clause("config.md", "Linux mount options", "nosymfollow")
@pytest.mark.parametrize("bind", [True, False])
@pytest.mark.deviates(crun="1.8 does not know it")
def test_nosymfollow(runtime: Runtime, bundle: Bundle, tmp_path: Path, *, bind: bool) -> None:
    if bind:
        bundle.mount("/x", "bind", "nosymfollow", source=str(data(tmp_path)))
    else:
        bundle.mount("/x", "nosymfollow", kind="tmpfs", source="tmpfs")
    assert "nosymfollow" in options_of(bundle, runtime, "/x")


@pytest.fixture
def nested(tmp_path: Path) -> Iterator[Path]:
    """A directory of the host with another mount in it."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount on the host")
    inner = data(tmp_path) / "inner"
    inner.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "jc-nested", str(inner)], check=True)
    try:
        yield tmp_path / "data"
    finally:
        subprocess.run(["umount", "-l", str(inner)], check=True)


@pytest.mark.root
@pytest.mark.clause("config.md", "Linux mount options", "rbind brings what is mounted below the source, bind does not")
@pytest.mark.parametrize(("option", "count"), [("bind", "0"), ("rbind", "1")])
def test_bind_and_rbind(runtime: Runtime, bundle: Bundle, nested: Path, option: str, count: str) -> None:
    bundle.mount("/x", option, source=str(nested))
    bundle.script("grep -c ' /x/inner ' /proc/self/mountinfo; true")
    assert runtime.run(bundle).lines() == [count]


@pytest.mark.root
@pytest.mark.clause("config.md", "Linux mount options", "rro, rnosuid ... hold for a mount and all below it")
@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("rro", "ro"),
        ("rnosuid", "nosuid"),
        ("rnodev", "nodev"),
        ("rnoexec", "noexec"),
        ("rnoatime", "noatime"),
        ("rnodiratime", "nodiratime"),
        ("rnosymfollow", "nosymfollow"),
    ],
)
@pytest.mark.deviates(crun="1.8 lacks some of them")
def test_recursive_attributes(runtime: Runtime, bundle: Bundle, nested: Path, given: str, shown: str) -> None:
    bundle.mount("/x", "rbind", given, source=str(nested))
    assert shown in options_of(bundle, runtime, "/x")
    assert shown in options_of(bundle, runtime, "/x/inner")


@pytest.mark.root
@pytest.mark.clause("config.md", "Linux mount options", "rro, rnosuid ... hold for a mount and all below it")
def test_ro_is_not_recursive(runtime: Runtime, bundle: Bundle, nested: Path) -> None:
    bundle.mount("/x", "rbind", "ro", source=str(nested))
    assert "ro" in options_of(bundle, runtime, "/x")
    assert "rw" in options_of(bundle, runtime, "/x/inner")


@pytest.mark.root
@pytest.mark.clause("config.md", "Linux mount options", "rrw, rsuid ... take away from a mount and all below it")
def test_recursive_attributes_are_taken_away(runtime: Runtime, bundle: Bundle, nested: Path) -> None:
    subprocess.run(["mount", "-o", "remount,bind,ro,nosuid,nodev", str(nested / "inner")], check=True)
    bundle.mount("/x", "rbind", "rrw", "rsuid", "rdev", source=str(nested))
    assert {"ro", "nosuid", "nodev"}.isdisjoint(options_of(bundle, runtime, "/x/inner"))


@pytest.mark.clause("config.md", "Linux mount options", "propagation: private, slave, shared, unbindable")
@pytest.mark.parametrize(
    ("given", "shown"),
    [("rprivate", False), ("private", False), ("shared", True), ("rshared", True)],
)
@pytest.mark.deviates(crun="1.8 sets no propagation but private")
def test_propagation_of_a_mount(runtime: Runtime, bundle: Bundle, tmp_path: Path, given: str, *, shown: bool) -> None:
    bundle.mount("/x", "rbind", given, source=str(data(tmp_path)))
    found = options_of(bundle, runtime, "/x")
    assert any(option.startswith("shared:") for option in found) is shown


@pytest.mark.clause("config.md", "Linux mount options", "propagation: private, slave, shared, unbindable")
@pytest.mark.parametrize("given", ["unbindable", "runbindable"])
@pytest.mark.deviates(crun="1.8 sets no propagation but private")
def test_an_unbindable_mount(runtime: Runtime, bundle: Bundle, given: str) -> None:
    bundle.mount("/x", given, kind="tmpfs", source="tmpfs")
    assert "unbindable" in options_of(bundle, runtime, "/x")


@pytest.mark.root
@pytest.mark.clause("config.md", "Linux mount options", "propagation: private, slave, shared, unbindable")
@pytest.mark.parametrize(("given", "follows"), [("rslave", True), ("rprivate", False)])
@pytest.mark.deviates(crun="runs here in a mount namespace of its own")
def test_a_slave_follows_the_host(runtime: Runtime, bundle: Bundle, shared: Path, given: str, *, follows: bool) -> None:
    bundle.linux["rootfsPropagation"] = "slave"
    bundle.mount("/x", "rbind", given, source=str(shared))
    bundle.script("while [ ! -e /x/go ]; do sleep 0.05; done; grep -c ' /x/late ' /proc/self/mountinfo; true")
    output = bundle.path / "output"
    container = runtime.create(bundle, output=output)
    assert runtime.start(container).status == 0
    subprocess.run(["mount", "-t", "tmpfs", "jc-late", str(shared / "late")], check=True)
    (shared / "go").touch()
    runtime.wait(container)
    assert output.read_text().split() == ["1" if follows else "0"]


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """A mount of the host whose events others see."""
    directory = tmp_path / "shared"
    directory.mkdir()
    if os.geteuid() != 0:
        pytest.skip("needs root to mount on the host")
    subprocess.run(["mount", "-t", "tmpfs", "jc-shared", str(directory)], check=True)
    subprocess.run(["mount", "--make-shared", str(directory)], check=True)
    (directory / "late").mkdir()
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-R", "-l", str(directory)], check=True)


@pytest.mark.root
@pytest.mark.clause("config.md", "Linux mount options", "propagation: private, slave, shared, unbindable")
@pytest.mark.parametrize(("given", "seen"), [("rshared", True), ("rslave", False)])
@pytest.mark.deviates(crun="runs here in a mount namespace of its own")
def test_what_is_mounted_in_a_shared_mount_shows_on_the_host(
    runtime: Runtime, bundle: Bundle, shared: Path, given: str, *, seen: bool
) -> None:
    bundle.linux["rootfsPropagation"] = given.removeprefix("r")
    bundle.mount("/x", "rbind", given, source=str(shared))
    for kind in ("bounding", "effective", "permitted"):
        bundle.process["capabilities"][kind].append("CAP_SYS_ADMIN")
    bundle.script("mount -t tmpfs jc-from-inside /x/late && touch /x/late/file; touch /x/done")
    runtime.run(bundle).lines()
    assert (shared / "late/file").exists() is seen


@pytest.mark.clause("config.md", "Linux mount options", "remount changes the mount that is there")
def test_remount(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    bundle.mount("/x", "bind", source=str(data(tmp_path)))
    bundle.mount("/x", "bind", "remount", "ro", source=str(data(tmp_path)))
    assert "ro" in options_of(bundle, runtime, "/x")


@pytest.mark.clause("config.md", "Linux mount options", "tmpcopyup: a tmpfs begins with a copy of what it covers")
@pytest.mark.deviates(crun="1.8 does not copy the directory's mode")
def test_tmpcopyup(runtime: Runtime, bundle: Bundle) -> None:
    area = bundle.root / "area"
    (area / "deep/er").mkdir(parents=True)
    (area / "deep/file").write_text("content")
    (area / "deep/file").chmod(0o4750)
    (area / "deep/link").symlink_to("file")
    area.chmod(0o751)
    bundle.mount("/area", "tmpcopyup", kind="tmpfs", source="tmpfs")
    bundle.script(
        "cat /area/deep/link; echo; cd /area; stat -c '%a %F' . deep/file deep/er deep/link; echo > /area/new"
    )
    lines = runtime.run(bundle).lines()
    assert lines[0] == "content"
    assert lines[1:] == ["751 directory", "4750 regular file", "755 directory", "777 symbolic link"]
    assert not (area / "new").exists()


# -- id mappings -----------------------------------------------------------------------------------------------------


def mapping(outside: int, size: int = 1000) -> list[dict[str, int]]:
    return [{"containerID": 0, "hostID": outside, "size": size}]


@pytest.mark.root
@pytest.mark.clause("config.md", "Mounts", "uidMappings and gidMappings change the owners a mount shows")
@pytest.mark.parametrize("option", ["idmap", "ridmap"])
@pytest.mark.deviates(runc="1.1 has no id-mapped mounts")
def test_an_id_mapped_mount(runtime: Runtime, bundle: Bundle, tmp_path: Path, option: str) -> None:
    (data(tmp_path) / "file").touch()
    bundle.mount(
        "/x", "rbind", option, source=str(tmp_path / "data"), uidMappings=mapping(5000), gidMappings=mapping(6000)
    )
    bundle.process["args"] = ["stat", "-c", "%u %g", "/x/file"]
    assert runtime.run(bundle).lines() == ["5000 6000"]


@pytest.mark.root
@pytest.mark.clause("config.md", "Mounts", "without mappings of its own an id-mapped mount has the container's")
@pytest.mark.deviates(runc="1.1 has no id-mapped mounts")
def test_a_mount_with_the_containers_mapping(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    (data(tmp_path) / "file").touch()
    own_ids(bundle)
    bundle.mount("/x", "rbind", "idmap", source=str(tmp_path / "data"))
    bundle.script("stat -c '%u %g' /x/file; touch /x/new")
    assert runtime.run(bundle).lines() == ["0 0"]
    info = (tmp_path / "data/new").stat()
    assert (info.st_uid, info.st_gid) == (0, 0)


@pytest.mark.clause("config.md", "Mounts", "an id mapping that comes from nowhere is an error")
@pytest.mark.deviates(runc="1.1 has no id-mapped mounts")
def test_an_id_mapping_from_nowhere_is_an_error(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    bundle.mount("/x", "rbind", "idmap", source=str(data(tmp_path)))
    assert runtime.run(bundle).status != 0


def own_ids(bundle: Bundle, outside: int = 200000) -> None:
    """Give the container a user namespace, and its root file system to its root."""
    bundle.namespace("user")
    bundle.linux["uidMappings"] = mapping(outside)
    bundle.linux["gidMappings"] = mapping(outside)
    subprocess.run(["chown", "-R", f"{outside}:{outside}", str(bundle.root)], check=True)
    for directory in (bundle.path, *bundle.path.parents[:3]):
        directory.chmod(0o711)
    for name in ("proc", "dev", "sys"):
        (bundle.root / name).mkdir(exist_ok=True)
        os.chown(bundle.root / name, outside, outside)
