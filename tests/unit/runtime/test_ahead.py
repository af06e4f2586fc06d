from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from jupyter_containers.runtime import ahead
from tests.support import rootfs

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_containers.linux.cgroups import CgroupPlan
    from jupyter_containers.runtime.protocol import LaunchRequest

BIND = {"destination": "/data", "type": "bind", "source": "/srv"}


def request(**more: object) -> LaunchRequest:
    return cast("LaunchRequest", {"id": "x", "spec": rootfs.spec("/root", "true"), **more})


def plan(name: str) -> CgroupPlan:
    dirs = {controller: f"/cg/{controller}/jupyter-containers/{name}" for controller in ("memory", "devices")}
    return {
        "name": name,
        "dirs": dirs,
        "unified": "",
        "writes": [
            (f"{dirs['memory']}/memory.limit_in_bytes", "7"),
            (f"{dirs['devices']}/devices.deny", "a"),
            (f"{dirs['devices']}/devices.allow", "c 1:3 rwm"),
        ],
        "device_program": b"",
    }


def test_what_differs_between_usual_containers_is_no_part_of_it() -> None:
    one, other = request(cgroup=plan("one")), request(cgroup=plan("other"), user="alice")
    other["spec"]["process"]["args"] = ["false"]
    other["spec"]["hostname"] = "elsewhere"
    other["spec"]["mounts"].append(cast("Any", BIND))
    assert ahead.of(one) == ahead.of(other)
    assert ahead.of(one)["tops"] == ["/proc", "/dev", "/sys"]
    assert ahead.of(one)["masked"] == one["spec"]["linux"]["maskedPaths"]
    assert ahead.of(one)["pooled"]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (lambda s: s["linux"]["namespaces"].pop(1), "namespaces"),
        (lambda s: s["linux"]["maskedPaths"].append("/proc/scsi"), "masked"),
        (lambda s: s["linux"].update(sysctl={"net.ipv4.ip_forward": "1"}), "sysctl"),
        (lambda s: s["linux"].update(devices=[{"path": "/dev/fuse", "type": "c", "major": 10}]), "devices"),
        (lambda s: s["mounts"][3]["options"].append("size=1m"), "mounts"),
        (lambda s: s["linux"].update(uidMappings=[{"containerID": 0, "hostID": 1, "size": 1}]), "maps"),
    ],
)
def test_what_makes_another_kind(change: Callable[[Any], object], key: str) -> None:
    other = request()
    change(other["spec"])
    assert [name for name, value in ahead.of(request()).items() if value != cast("Any", ahead.of(other))[name]] == [key]


@pytest.mark.parametrize("place", ["/dev", "/dev/mine", "/proc/sys", "/sys/fs/cgroup", "/", "/dev/../proc", "/a/./b"])
def test_a_mount_that_may_cover_one_of_the_kernels_keeps_the_order(place: str) -> None:
    covered = request()
    covered["spec"]["mounts"].append({"destination": place, "type": "tmpfs", "options": ["tmpcopyup"]})
    found = ahead.of(covered)
    assert (found["mounts"], found["tops"], found["devices"], found["masked"]) == ([], [], [], [])


def test_only_the_first_mounts_up_to_one_that_depends_on_the_image_or_the_host() -> None:
    mixed = request()
    mixed["spec"]["mounts"].insert(2, cast("Any", BIND))
    mixed["spec"]["mounts"] = mixed["spec"]["mounts"][:3]
    assert [mount["destination"] for mount in ahead.of(mixed)["mounts"]] == ["/proc", "/dev"]


def test_parameters_of_interfaces_wait_for_them_and_protections_for_parameters() -> None:
    late = request()
    late["spec"]["linux"]["sysctl"] = {"net.ipv4.conf.eth0.forwarding": "1"}
    found = ahead.of(late)
    assert (found["sysctl"], found["readonly"], found["masked"]) == ({}, [], [])
    assert found["mounts"]


def test_what_cannot_wait() -> None:
    joined = request()
    joined["spec"]["linux"]["namespaces"][1] = {"type": "network", "path": "/proc/1/ns/net"}
    assert not ahead.of(joined)["pooled"]
    assert not ahead.of(request(cgroup={**plan("x"), "unified": "/cg/unified/x"}))["pooled"]
    late = request()
    late["spec"]["mounts"] += [{"destination": "/sys/fs/cgroup", "type": "cgroup"}, {"destination": "/x/../y"}]
    assert ahead.of(late)["mounts"] == []
    assert not ahead.of(late)["pooled"]


def test_a_name_that_begins_with_a_dot_is_usual() -> None:
    hidden = request()
    hidden["spec"]["mounts"].append({"destination": "/x/.y", "type": "bind", "source": "/etc"})
    assert ahead.of(hidden)["mounts"]
    assert ahead.of(hidden)["pooled"]


def test_cgroups_under_another_name_and_what_is_left_to_write() -> None:
    given = plan("box")
    found = ahead.of(request(cgroup=given))
    waiting = ahead.waiting_cgroup(found, "warm")
    assert waiting is not None
    assert waiting["dirs"] == plan("warm")["dirs"]
    assert waiting["writes"] == plan("warm")["writes"][1:]
    assert ahead.remaining_cgroup(found, given)["writes"] == given["writes"][:1]
    assert ahead.waiting_cgroup(ahead.of(request()), "warm") is None


def test_an_invalid_request_is_left_to_those_who_say_what_is_wrong() -> None:
    wrong = request()
    wrong["spec"]["linux"]["devices"] = [{"path": "/dev/x", "type": cast("Any", "z")}]
    assert ahead.of(wrong)["devices"] == []
    assert ahead.of(cast("Any", {"spec": {"mounts": [{}]}}))["mounts"] == []
