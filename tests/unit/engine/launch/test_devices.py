"""Devices of the host: how they are written, what is made of them, and the rules that go with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jupyter_containers.engine.launch import devices
from jupyter_containers.engine.options import RunOptions
from jupyter_containers.errors import EngineError, InvalidInput, NotFound, Unsupported

if TYPE_CHECKING:
    from pathlib import Path


def given(*texts: str) -> list[devices.HostDevice]:
    return devices.of(RunOptions(device=texts))


@pytest.mark.parametrize(
    ("text", "path", "access"),
    [
        ("/dev/null", "/dev/null", "rwm"),
        ("/dev/null:r", "/dev/null", "r"),
        ("/dev/null:/dev/hole", "/dev/hole", "rwm"),
        ("/dev/null:/dev/../x:rw", "/x", "rw"),
    ],
)
def test_a_device_and_where_it_is_shown(text: str, path: str, access: str) -> None:
    (found,) = given(text)
    assert (found.source, found.path, found.access) == ("/dev/null", path, access)
    assert (found.kind, found.major, found.minor) == ("c", 1, 3)
    assert found.node["path"] == found.mount["destination"] == path
    assert found.mount["source"] == "/dev/null"
    assert found.rule == {"allow": True, "type": "c", "major": 1, "minor": 3, "access": access}


def test_a_directory_stands_for_the_devices_in_it() -> None:
    found = given("/dev:/dev/host:r")
    assert "/dev/host/null" in {device.path for device in found}
    assert {device.access for device in found} == {"r"}


def test_the_later_of_two_on_one_path_wins() -> None:
    (found,) = given("/dev/null:/dev/x", "/dev/zero:/dev/x:r")
    assert (found.source, found.access) == ("/dev/zero", "r")


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        (
            "/dev/nosuch",
            NotFound,
            'error gathering device information while adding custom device "/dev/nosuch": no such',
        ),
        ("/dev/null:x", InvalidInput, "its paths must be absolute"),
        ("/dev/null:/x:rr", InvalidInput, "invalid device mode: rr"),
        ("/dev/null:/x:rwx", InvalidInput, "invalid device mode: rwx"),
        ("/dev/null:/x:r:w", InvalidInput, "invalid device specification"),
        ("null", NotFound, "null"),
        ("vendor.com/class=all", Unsupported, "Container Device Interface"),
    ],
)
def test_wrong_devices_are_refused(text: str, kind: type[EngineError], words: str) -> None:
    with pytest.raises((kind, InvalidInput) if text == "null" else kind, match=words):
        given(text)


def test_a_file_is_no_device(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for name in ("file", "empty"):
        with pytest.raises(InvalidInput, match="not a device node"):
            given(str(tmp_path / name))


def test_nothing_is_allowed_but_the_default_devices_and_those_given() -> None:
    options = RunOptions(device_cgroup_rule=("b 8:* r", "a 1:2 m"))
    rules = devices.rules(options, given("/dev/null:r"))
    assert rules[0] == {"allow": False, "access": "rwm"}
    assert rules[-4:] == [
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"},
        {"allow": True, "type": "b", "major": 8, "access": "r"},
        {"allow": True, "type": "c", "major": 1, "minor": 2, "access": "m"},
        {"allow": True, "type": "b", "major": 1, "minor": 2, "access": "m"},
    ]
    assert all("major" in rule for rule in rules[3:]), "no rule but mknod's allows every device"


@pytest.mark.parametrize("text", ["c 1:3", "x 1:3 rwm", "c 1:3 rwmx", "c 1 rwm", "c 1:3 rwm ", "c -1:3 r"])
def test_wrong_rules_are_refused_in_dockers_words(text: str) -> None:
    with pytest.raises(InvalidInput, match="invalid device cgroup format"):
        devices.rules(RunOptions(device_cgroup_rule=(text,)), [])


def test_a_privileged_container_has_the_hosts_devices_but_its_own_terminals() -> None:
    options = RunOptions(privileged=True)
    paths = {device.path for device in devices.of(options)}
    assert "/dev/null" in paths
    assert not {path for path in paths if path.startswith(("/dev/pts/", "/dev/shm/"))}
    assert devices.rules(options, []) == [{"allow": True, "access": "rwm"}]
