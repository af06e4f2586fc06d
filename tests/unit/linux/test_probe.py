from __future__ import annotations

import os
from dataclasses import replace
from errno import EACCES, EINVAL, ENOSPC, ENOSYS, EPERM
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.linux.cgroup_host import CgroupHost
from jupyter_containers.linux.probe import Facts, gather, probe_host, report

if TYPE_CHECKING:
    from pathlib import Path

FINE = dict.fromkeys(
    (
        "userns",
        "userns_namespaces",
        "userns_proc",
        "userns_overlay",
        "namespaces",
        "proc",
        "overlay",
        "seccomp",
        "nftables",
    ),
    0,
)
TOOLS = {name: f"/usr/bin/{name}" for name in ("newuidmap", "newgidmap", "pasta", "slirp4netns", "busybox", "nft")}

ROOT = Facts(
    uid=0,
    user="root",
    kernel=(6, 1),
    machine="x86_64",
    attempts=FINE,
    subuids=0,
    subgids=0,
    cgroups=CgroupHost("v1", dict.fromkeys(("memory", "cpu", "pids"), "/x")),
    store="/var/lib/jupyter-containers",
    store_type="ext4",
    tools=TOOLS,
)
USER = replace(
    ROOT,
    uid=1000,
    user="ann",
    attempts=FINE | {"namespaces": EPERM, "proc": EPERM, "overlay": EPERM},
    subuids=65536,
    subgids=65536,
    cgroups=CgroupHost("v2", {}, "/x", ("memory", "cpu", "pids")),
)


def test_a_host_where_everything_works() -> None:
    for facts, rung in ((ROOT, "root"), (USER, "rootless")):
        found = report(facts)
        assert found.rung == rung
        assert all(finding.ok for finding in found.findings), found


def test_without_subordinate_ids_one_id_is_left() -> None:
    found = report(replace(USER, subuids=0))
    assert found.rung == "rootless-single-id"
    assert "ann has no subordinate ids" in found.summary
    assert "usermod" in found.finding("subordinate ids").remedy
    found = report(replace(USER, tools=TOOLS | {"newuidmap": None}))
    assert found.rung == "rootless-single-id"
    assert found.finding("subordinate ids").remedy == "sudo apt-get install uidmap"


@pytest.mark.parametrize(
    ("code", "sysctls", "why", "remedy"),
    [
        (ENOSPC, {}, "max_user_namespaces", "user.max_user_namespaces=15000"),
        (EPERM, {"user/max_user_namespaces": "0"}, "max_user_namespaces", "user.max_user_namespaces=15000"),
        (EPERM, {"kernel/unprivileged_userns_clone": "0"}, "userns_clone is 0", "unprivileged_userns_clone=1"),
        (EACCES, {"kernel/apparmor_restrict_unprivileged_userns": "1"}, "AppArmor", "restrict_unprivileged_userns=0"),
        (ENOSYS, {}, "system call filter", "seccomp=unconfined"),
        (EINVAL, {}, "CONFIG_USER_NS", "CONFIG_USER_NS"),
    ],
)
def test_without_user_namespaces_the_report_says_why(code: int, sysctls: dict[str, str], why: str, remedy: str) -> None:
    found = report(replace(USER, attempts=USER.attempts | {"userns": code}, sysctls=sysctls))  # type: ignore[operator]
    assert found.rung == "images-only"
    assert why in found.summary
    assert why in found.finding("user namespaces").detail
    assert remedy in found.finding("user namespaces").remedy


def test_namespaces_in_a_user_namespace_count_too() -> None:
    restricted = dict(USER.attempts) | {"userns_namespaces": EPERM}
    sysctls = {"kernel/apparmor_restrict_unprivileged_userns": "1"}
    assert report(replace(USER, attempts=restricted, sysctls=sysctls)).rung == "images-only"


def test_root_without_privileges_is_no_root() -> None:
    poor = FINE | {"namespaces": EPERM, "proc": EPERM, "overlay": EPERM}
    assert report(replace(ROOT, attempts=poor)).rung == "rootless-single-id"
    assert report(replace(ROOT, attempts=poor | {"userns": EPERM}, inside_container=True)).rung == "images-only"


def test_an_attempt_that_could_not_be_made_is_shown_as_such() -> None:
    found = report(replace(USER, attempts=dict.fromkeys(FINE, -1)))
    assert found.rung == "images-only"
    assert "the attempt failed" in found.summary


def test_what_is_missing_comes_with_a_remedy() -> None:
    facts = replace(
        USER,
        kernel=(5, 4),
        attempts=USER.attempts | {"userns_overlay": EINVAL, "userns_proc": EPERM},  # type: ignore[operator]
        cgroups=CgroupHost("none", {}, reasons={"memory": "/x is not writable for uid 1000"}),
        store_type="nfs4",
        tools={},
        tun=EACCES,
    )
    missing = {finding.feature: finding for finding in report(facts).findings if not finding.ok}
    assert set(missing) == {
        "kernel",
        "mount /proc",
        "subordinate ids",
        "overlay",
        "cgroup limits",
        "/dev/net/tun",
        "rootless network",
        "store",
        "busybox",
    }
    assert all(finding.remedy for finding in missing.values())
    assert "/x is not writable for uid 1000" in missing["cgroup limits"].detail
    assert "nfs4" in missing["store"].detail
    with pytest.raises(KeyError):
        report(facts).finding("telepathy")


def test_root_on_a_kernel_without_nftables_or_filters() -> None:
    poor = FINE | {"nftables": 93, "seccomp": EINVAL}
    found = report(replace(ROOT, attempts=poor))
    assert found.rung == "root"
    assert not found.finding("nftables").ok
    assert not found.finding("seccomp").ok
    assert not report(replace(ROOT, machine="riscv64")).finding("seccomp").ok


def test_this_host_is_probed_and_nothing_stays(tmp_path: Path) -> None:
    facts = gather(str(tmp_path / "not" / "there"))
    assert facts.uid == os.geteuid()
    assert -1 not in facts.attempts.values()
    assert facts.store_type != "unknown"
    found = probe_host(str(tmp_path))
    assert found.finding("kernel").ok
    assert found.finding("store").detail.startswith(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.root
def test_root_that_can_unshare_is_on_the_highest_rung(tmp_path: Path) -> None:
    facts = gather(str(tmp_path))
    if facts.attempts["namespaces"]:
        pytest.skip("this root may not make namespaces")
    assert report(facts).rung == "root"


@pytest.mark.parametrize(("ids", "rung"), [(1, "rootless-single-id"), (65_537, "rootless")])
def test_root_of_another_user_namespace_is_no_root(ids: int, rung: str) -> None:
    found = report(replace(ROOT, outer_ids=ids))
    assert found.rung == rung
    assert "user namespace this process is in" in found.summary
    assert {finding.feature for finding in found.findings} >= {"/dev/net/tun", "rootless network"}


def test_root_without_privileges_is_told_as_others_are() -> None:
    found = report(replace(ROOT, attempts=USER.attempts, subuids=0))
    assert found.rung == "rootless-single-id"
    assert not found.finding("subordinate ids").ok


def test_newuidmap_that_cannot_work_is_told() -> None:
    found = report(replace(USER, no_gain="/usr/bin/newuidmap is neither set-user-id root nor has it capabilities"))
    assert found.rung == "rootless-single-id"
    assert found.finding("subordinate ids").remedy == "sudo chmod u+s /usr/bin/newuidmap"
    found = report(replace(USER, no_gain="this process may gain no privileges (no_new_privs), as newuidmap has to"))
    assert found.finding("subordinate ids").remedy == ""


def test_a_store_where_nothing_can_be_executed_is_told() -> None:
    found = report(replace(USER, store_options="rw,nosuid,noexec")).finding("store")
    assert not found.ok
    assert "noexec" in found.detail
