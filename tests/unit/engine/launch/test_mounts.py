"""``-v``, ``--mount`` and ``--tmpfs``: what they mean, and every mistake by its name."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.engine.launch import mounts
from jupyter_containers.engine.launch.mounts import MountPoint
from jupyter_containers.engine.options import RunOptions
from jupyter_containers.errors import EngineError, InvalidInput, Unsupported


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("/data", MountPoint(kind="volume", target="/data")),
        ("cache:/data", MountPoint(kind="volume", source="cache", target="/data")),
        (
            "cache:/data:ro,nocopy,z",
            MountPoint(kind="volume", source="cache", target="/data", read_only=True, copy=False),
        ),
        ("/srv:/data//", MountPoint(kind="bind", source="/srv", target="/data", create_source=True)),
        (
            "/srv/./a:/data:ro,rslave",
            MountPoint(
                kind="bind", source="/srv/a", target="/data", read_only=True, propagation="rslave", create_source=True
            ),
        ),
    ],
)
def test_the_short_form(text: str, point: MountPoint) -> None:
    assert mounts.read_volume(text) == point


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid volume"),
        (":/data", "invalid volume"),
        ("data:", "invalid volume"),
        ("a:b:c:d", "invalid volume"),
        ("data", "must be absolute"),
        ("cache:data", "must be absolute"),
        ("x:/data", "'x' is no name of a volume"),
        ("so/me:/data", "is no name of a volume"),
        ("cache:/data:shared", "unknown option 'shared'"),
        ("/srv:/data:nocopy", "unknown option 'nocopy'"),
        ("/srv:/data:U", "unknown option 'U'"),
        ("/srv:/data:ro,rw", "contradict"),
        ("/srv:/data:shared,slave", "contradict"),
        ("/srv:/", "nothing can be mounted on /"),
        ("/srv:/proc/1/..", "nothing can be mounted on /proc"),
    ],
)
def test_mistakes_of_the_short_form(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as refused:
        mounts.read_volume(text)
    assert refused.value.hint or "contradict" in message


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("target=/d", MountPoint(kind="volume", target="/d")),
        (
            "type=volume,src=cache,dst=/d,volume-nocopy,volume-subpath=a//b,volume-label=k=v,volume-opt=type=tmpfs",
            MountPoint(
                kind="volume",
                source="cache",
                target="/d",
                copy=False,
                subpath="a/b",
                labels={"k": "v"},
                driver_options={"type": "tmpfs"},
            ),
        ),
        (
            'type=volume,source=cache,target=/d,"volume-opt=o=size=1m,mode=700"',
            MountPoint(kind="volume", source="cache", target="/d", driver_options={"o": "size=1m,mode=700"}),
        ),
        ("type=bind,source=/srv,destination=/d,ro=false", MountPoint(kind="bind", source="/srv", target="/d")),
        (
            "TYPE=bind,source=/srv,target=/d,readonly,bind-recursive=readonly,bind-create-src=1",
            MountPoint(
                kind="bind", source="/srv", target="/d", read_only=True, recursive="readonly", create_source=True
            ),
        ),
        (
            "type=tmpfs,target=/d,tmpfs-size=1m,tmpfs-mode=0700",
            MountPoint(kind="tmpfs", target="/d", options=("nosuid", "nodev", "noexec", "size=1048576", "mode=0700")),
        ),
        (
            "type=image,source=alpine,target=/d,image-subpath=etc",
            MountPoint(kind="image", source="alpine", target="/d", read_only=True, subpath="etc"),
        ),
    ],
)
def test_the_long_form(text: str, point: MountPoint) -> None:
    assert mounts.read_mount(text) == point


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("type=bind,source=/,colour=red,target=/x", InvalidInput, "unexpected key 'colour'"),
        ("type=npipe,target=/x", Unsupported, "'npipe'"),
        ("type=bind,source=/", InvalidInput, "target is required"),
        ("type=bind,source=/,target=x", InvalidInput, "absolute"),
        ("type=bind,target=/x", InvalidInput, "source is required"),
        ("type=image,target=/x", InvalidInput, "source is required"),
        ("type=tmpfs,source=a,target=/x", InvalidInput, "no source"),
        ("type=tmpfs,target=/x,volume-nocopy", InvalidInput, r"cannot mix volume-\* options with mount type 'tmpfs'"),
        ("type=bind,source=/,target=/x,tmpfs-size=1", InvalidInput, r"cannot mix tmpfs-\*"),
        ("type=bind,source=/,target=/x,readonly=maybe", InvalidInput, "'maybe'"),
        ("type=bind,source=/,target=/x,bind-propagation=loud", InvalidInput, "'loud'"),
        ("type=bind,source=/,target=/x,bind-recursive=no", InvalidInput, "'no'"),
        ("type=bind,source=/,target=/x,bind-recursive=readonly", InvalidInput, "needs readonly"),
        ("type=tmpfs,target=/x,tmpfs-mode=9", InvalidInput, "'9'"),
        ("type=tmpfs,target=/x,tmpfs-size=much", InvalidInput, "tmpfs-size 'much'"),
        ("type=volume,source=ab,target=/x,volume-subpath=../y", InvalidInput, "volume-subpath"),
        ("type=volume,source=ab,target=/x,volume-subpath=/y", InvalidInput, "volume-subpath"),
        ("type=volume,source=ab,target=/x,volume-driver=nfs", Unsupported, "'nfs'"),
        ("type=volume,source,target=/x", InvalidInput, "key=value"),
        ('type=volume,"source=ab,target=/x', InvalidInput, "cannot be read"),
    ],
)
def test_mistakes_of_the_long_form(text: str, kind: type[EngineError], message: str) -> None:
    with pytest.raises(kind, match=message):
        mounts.read_mount(text)


def test_a_file_system_in_memory_has_docker_s_defaults_and_what_is_asked() -> None:
    assert mounts.read_tmpfs("/run").options == ("nosuid", "nodev", "noexec")
    assert mounts.read_tmpfs("/run:exec,size=1m").options == ("nosuid", "nodev", "noexec", "exec", "size=1m")
    for text, option in (("/run:sizes=1", "sizes=1"), ("/run:size=", "size="), ("/run:loud", "loud")):
        with pytest.raises(InvalidInput, match=f"'{option}'"):
            mounts.read_tmpfs(text)


@pytest.mark.parametrize("place", ["/", "//", "/x/..", "/proc", "/proc/sys", "/../proc/1"])
@pytest.mark.parametrize("kind", ["volume", "tmpfs"])
def test_the_root_and_proc_are_not_for_mounts(place: str, kind: str) -> None:
    with pytest.raises(InvalidInput, match="nothing can be mounted on /"):
        mounts.read(RunOptions.of({kind: f"/tmp:{place}" if kind == "volume" else place}))


def test_one_place_takes_one_mount() -> None:
    with pytest.raises(InvalidInput, match="two mounts on /x"):
        mounts.read(RunOptions.of({"volume": ["/tmp:/x", "/tmp:/y"], "mount": "type=tmpfs,target=//x/"}))


def test_there_is_one_driver() -> None:
    with pytest.raises(Unsupported, match="'rexray'"):
        mounts.read(RunOptions.of({"volume_driver": "rexray"}))


@given(st.text(max_size=40), st.sampled_from([mounts.read_volume, mounts.read_mount, mounts.read_tmpfs]))
def test_any_text_is_a_mount_or_a_clear_error(text: str, read: object) -> None:
    assert callable(read)
    with suppress(EngineError):
        point = read(text)
        assert point.target.startswith("/")
        assert ".." not in point.target.split("/")
