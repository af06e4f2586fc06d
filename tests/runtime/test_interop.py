"""An image that this engine built, as other tools see it: skopeo reads it, umoci unpacks the same files."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jupyter_containers.engine import Container, Engine, RunResult
from tests.support.registry import docker_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

pytestmark = pytest.mark.peer

NAME = "example.org/team/odd:1.0"
# Files of a kind each: what RUN makes, what COPY and ADD bring, and what later layers take away.
DOCKERFILE = """
FROM starter
LABEL org.example.kind="odd one" empty=""
ENV GREETING="hello  there" PATH=/opt/bin:$PATH
COPY --chown=12:34 tree /tree/
ADD packed.tar /packed/
RUN <<MAKE
set -e
mkdir -p /made/sub/deep /made/emptied /made/replaced/below /made/gone
echo one > /made/one
ln /made/one /made/same
ln /made/one /made/sub/same-too
ln -s one /made/relative
ln -s /no/such/place /made/dangling
ln -s . /made/loop
mkfifo /made/fifo
cp /bin/busybox /made/setuid
chown 5:6 /made/setuid
chmod 4755 /made/setuid
chmod 2775 /made/sub
chmod 1777 /made/sub/deep
chmod 0000 /made/same
mkdir /made/odd
cd /made/odd
touch -- '-rf' 'a b' 'tab	here' "quo'te" '.wh' '.whiteout' 'ünïcode' 'back\\\\slash' ' ' 'star*' '...'
touch "$(printf 'line\\nbreak')" "$(printf 'latin\\351')"
n=$(printf 'n%.0s' $(seq 250)); touch "$n"
mkdir -p "$n.d/$n/$n"; echo deep > "$n.d/$n/$n/$n"
touch -d '1971-02-03 04:05:06' /made/odd/old
echo x > /made/gone/x; echo y > /made/gone-file; echo z > /made/emptied/z
echo below > /made/replaced/below/file
echo file > /made/becomes-dir; mkdir /made/becomes-file; echo f > /made/becomes-file/f
MAKE
RUN rm -r /made/gone /made/gone-file /made/emptied/z
RUN rm -r /made/replaced && mkdir /made/replaced && echo new > /made/replaced/new
RUN <<CHANGE
set -e
rm /made/becomes-dir; mkdir /made/becomes-dir; echo inside > /made/becomes-dir/inside
rm -r /made/becomes-file; echo now > /made/becomes-file
ln /made/odd/old /made/linked-later
chmod 711 /tree/dir
chown 77 /tree/dir/file
rm /made/relative; ln -s sub /made/relative
CHANGE
WORKDIR /made/by/workdir
USER 12:34
EXPOSE 8080/udp
VOLUME /data
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=5s --timeout=2s --retries=4 CMD ["true"]
ONBUILD RUN echo later
ENTRYPOINT ["/bin/echo", "entry"]
CMD ["point"]
"""


def packed() -> bytes:
    """A tar with what a directory on a test machine may be unable to hold: attributes and foreign owners."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        plain = tarfile.TarInfo("attributes")
        plain.size, plain.uid, plain.gid, plain.mode, plain.mtime = 3, 1234, 4321, 0o640, 1_600_000_000
        # No empty value: in a pax record that takes the attribute away (pax(1)), and tools differ on it.
        plain.pax_headers = {"SCHILY.xattr.user.note": "kept", "SCHILY.xattr.user.bytes": "\n=\u00e9"}
        archive.addfile(plain, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("attributes-too")
        link.type, link.linkname = tarfile.LNKTYPE, "attributes"
        archive.addfile(link)
        folder = tarfile.TarInfo("folder")
        folder.type, folder.mode, folder.mtime = tarfile.DIRTYPE, 0o3750, 1_500_000_000
        folder.pax_headers = {"SCHILY.xattr.user.folder": "yes"}
        archive.addfile(folder)
    return out.getvalue()


def make_context(directory: Path) -> Path:
    (directory / "tree/dir").mkdir(parents=True)
    (directory / "tree/dir/file").write_bytes(bytes(range(256)) * 300)
    (directory / "tree/dir/script").write_text("#!/bin/sh\necho script\n")
    (directory / "tree/dir/script").chmod(0o755)
    (directory / "tree/link").symlink_to("dir/file")
    os.link(directory / "tree/dir/file", directory / "tree/hard")
    (directory / "packed.tar").write_bytes(packed())
    (directory / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    return directory


@pytest.fixture
def layout(engine: Engine, tmp_path: Path) -> str:
    """The built image as ``path:name`` in the store's own OCI layout."""
    if engine.doctor().rung == "rootless-single-id":
        pytest.skip("the image has files of several owners: needs subordinate ids")
    engine.images.build(make_context(tmp_path / "context"), tag=NAME)
    return f"{os.environ['JUPYTER_CONTAINERS_ROOT']}/content:{NAME}"


@pytest.fixture
def skopeo(need_tool: Callable[[str], str]) -> Callable[..., str]:
    tool = need_tool("skopeo")
    return lambda *words: call(tool, "--insecure-policy", *words)


def call(*words: str) -> str:
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def test_skopeo_reads_what_we_say_of_it(engine: Engine, layout: str, skopeo: Callable[..., str]) -> None:
    ours: dict[str, Any] = engine.images.inspect(NAME)
    seen = json.loads(skopeo("inspect", f"oci:{layout}"))
    manifest = json.loads(skopeo("inspect", "--raw", f"oci:{layout}"))
    config = json.loads(skopeo("inspect", "--config", f"oci:{layout}"))

    assert seen["Digest"] == ours["Descriptor"]["digest"]
    assert seen["Labels"] == ours["Config"]["Labels"]
    assert seen["Created"] == ours["Created"]
    assert (seen["Os"], seen["Architecture"]) == (ours["Os"], ours["Architecture"])
    assert seen["Layers"] == [str(layer.digest) for layer in engine.images.layers(NAME)]
    assert manifest["config"]["digest"] == ours["Id"]
    assert config["rootfs"]["diff_ids"] == ours["RootFS"]["Layers"]
    # Docker's own additions are not among what the OCI specification names, so skopeo passes the others only.
    for key in ("User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal"):
        assert config["config"][key] == ours["Config"][key], key
    assert [step.get("empty_layer", False) for step in reversed(config["history"])] == [
        entry.empty_layer for entry in engine.images.history(NAME)
    ]


# -- the same files ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seen:
    """One file with all that an image says about it; ``same`` are its names, where it has several."""

    mode: int
    owner: tuple[int, int]
    content: bytes
    device: int
    mtime: int
    attributes: tuple[tuple[str, bytes], ...]
    same: tuple[bytes, ...]


def survey(root: Path, without: Sequence[bytes] = ()) -> dict[bytes, Seen]:
    """Everything below ``root``, by its path there; nothing in and of the paths ``without``."""
    found: dict[bytes, os.stat_result] = {}
    base = os.fsencode(root)
    for directory, names, files in os.walk(base):
        inside = directory[len(base) :]
        names[:] = [name for name in names if inside + b"/" + name not in without]
        for name in (*names, *files):
            if inside + b"/" + name not in without:
                found[inside + b"/" + name] = os.lstat(directory + b"/" + name)
    links: dict[tuple[int, int], list[bytes]] = {}
    for path, status in sorted(found.items()):
        if not stat.S_ISDIR(status.st_mode):
            links.setdefault((status.st_dev, status.st_ino), []).append(path)
    return {
        path: _see(base + path, status, tuple(links.get((status.st_dev, status.st_ino), ())))
        for path, status in found.items()
    }


def _see(path: bytes, status: os.stat_result, same: tuple[bytes, ...]) -> Seen:
    content = b""
    if stat.S_ISLNK(status.st_mode):
        content = os.readlink(path)
    elif stat.S_ISREG(status.st_mode):
        content = Path(os.fsdecode(path)).read_bytes()
    names = sorted(os.listxattr(path, follow_symlinks=False))
    return Seen(
        status.st_mode,
        (status.st_uid, status.st_gid),
        content,
        status.st_rdev,
        status.st_mtime_ns,
        tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in names),
        same if len(same) > 1 else (),
    )


@pytest.mark.root
def test_umoci_unpacks_what_a_container_sees(
    engine: Engine, layout: str, need_tool: Callable[[str], str], tmp_path: Path, skopeo: Callable[..., str]
) -> None:
    umoci = need_tool("umoci")
    # Its command line takes no slash and no colon in a tag: a layout of its own with a short name.
    skopeo("copy", f"oci:{layout}", f"oci:{tmp_path}/copy:odd")
    call(umoci, "unpack", "--image", f"{tmp_path}/copy:odd", f"{tmp_path}/bundle")

    container = engine.containers.run(NAME, ["1000"], entrypoint="sleep", user="0", network="none", detach=True)
    assert isinstance(container, Container)
    (row,) = engine.containers.list()
    lines = Path(f"/proc/{row.pid}/mountinfo").read_bytes().splitlines()
    mounts = [line.split(b" ")[4] for line in lines]
    ours = survey(Path(f"/proc/{row.pid}/root"), without=mounts)
    theirs = survey(tmp_path / "bundle/rootfs", without=mounts)

    assert sorted(ours) == sorted(theirs)
    different = {path: (ours[path], theirs[path]) for path in ours if ours[path] != theirs[path]}
    # A directory in which the runtime made places for its mounts has a new time, as in any container.
    touched = {os.path.dirname(mount) for mount in mounts}
    different = {
        path: (mine, other)
        for path, (mine, other) in different.items()
        if path not in touched or mine.mode != other.mode or mine.owner != other.owner
    }
    assert different == {}
    check_scene(ours)


def check_scene(files: dict[bytes, Seen]) -> None:
    """What the Dockerfile made is there, so that two tools do not agree on nothing."""
    assert files[b"/made/one"].same == (b"/made/one", b"/made/same", b"/made/sub/same-too")
    assert stat.S_IMODE(files[b"/made/one"].mode) == 0
    assert (files[b"/made/setuid"].owner, stat.S_IMODE(files[b"/made/setuid"].mode)) == ((5, 6), 0o4755)
    assert stat.S_IMODE(files[b"/made/sub/deep"].mode) == 0o1777
    assert stat.S_ISFIFO(files[b"/made/fifo"].mode)
    assert files[b"/made/relative"].content == b"sub"
    assert files[b"/packed/attributes"].attributes == (
        ("user.bytes", "\n=\u00e9".encode()),
        ("user.note", b"kept"),
    )
    assert files[b"/packed/attributes"].same == (b"/packed/attributes", b"/packed/attributes-too")
    assert files[b"/packed/folder"].attributes == (("user.folder", b"yes"),)
    assert files[b"/made/odd/old"].mtime == 0  # no file is younger than the build, whose time is that of the base
    assert files[b"/made/linked-later"].same == (b"/made/linked-later", b"/made/odd/old")
    assert files[b"/made/becomes-dir/inside"].content == b"inside\n"
    assert files[b"/made/becomes-file"].content == b"now\n"
    assert files[b"/tree/dir/file"].owner == (77, 34)
    assert {b"/made/odd/line\nbreak", b"/made/odd/latin\xe9", b"/made/odd/.whiteout", b"/made/odd/-rf"} <= set(files)
    gone = {b"/made/gone", b"/made/gone-file", b"/made/emptied/z", b"/made/replaced/below", b"/made/becomes-file/f"}
    assert not gone & set(files)


# -- there and back ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_skopeo_writes_archives_with_the_same_layers(
    engine: Engine, layout: str, skopeo: Callable[..., str], tmp_path: Path, kind: str
) -> None:
    skopeo("copy", f"oci:{layout}", f"{kind}:{tmp_path}/saved:{NAME}")
    config = json.loads(skopeo("inspect", "--config", f"{kind}:{tmp_path}/saved:{NAME}"))
    assert config["rootfs"]["diff_ids"] == engine.images.inspect(NAME)["RootFS"]["Layers"]


def test_what_skopeo_pushed_is_pulled_and_run(
    engine: Engine, layout: str, skopeo: Callable[..., str], need_tool: Callable[[str], str], tmp_path: Path
) -> None:
    need_tool("docker-registry")
    script = "id -u; id -g; pwd; echo $GREETING; cat /made/replaced/new; ls /made/replaced /made/emptied"
    with docker_registry(tmp_path / "registry") as registry:
        name = f"{registry.host}/team/odd:2"
        skopeo("copy", "--dest-tls-verify=false", f"oci:{layout}", f"docker://{name}")
        before = engine.containers.run(NAME, remove=True, network="none")
        engine.images.remove(NAME)
        pulled = engine.images.pull(name)
        plain = engine.containers.run(name, remove=True, network="none")
        shell = engine.containers.run(
            name, ["-c", script], entrypoint="/bin/sh", remove=True, network="none", user="0:0"
        )
    assert isinstance(before, RunResult)
    assert isinstance(plain, RunResult)
    assert isinstance(shell, RunResult)
    assert pulled.names == (name,)
    assert plain.stdout == before.stdout == "entry point\n"
    assert shell.stdout.splitlines() == [
        *("0", "0", "/made/by/workdir", "hello there", "new"),
        *("/made/emptied:", "", "/made/replaced:", "new"),
    ]
