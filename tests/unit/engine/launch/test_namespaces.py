"""Namespaces: modes as Docker names them, and the ids of a user namespace of the container's own."""

from __future__ import annotations

import os

import pytest

from jupyter_containers.engine.launch import namespaces
from jupyter_containers.engine.options import RunOptions
from jupyter_containers.errors import Conflict, EngineError, InvalidInput, Unsupported
from jupyter_containers.runtime.idmap import IdMap

OWN = {"mount", "pid", "uts", "ipc", "cgroup", "network"}


def kinds(options: RunOptions, network: str = "none") -> dict[str, str]:
    found = namespaces.setup(options, network, pid_of=lambda _name: 7).namespaces
    return {each["type"]: each.get("path", "") for each in found}


def test_all_are_its_own_by_default() -> None:
    assert set(kinds(RunOptions())) == OWN
    assert set(kinds(RunOptions(pid="private", ipc="shareable", cgroupns="private"))) == OWN


@pytest.mark.parametrize(("option", "kind"), [("pid", "pid"), ("ipc", "ipc"), ("uts", "uts"), ("cgroupns", "cgroup")])
def test_those_of_the_host_are_left_out(option: str, kind: str) -> None:
    assert OWN - set(kinds(RunOptions.of({option: "host"}))) == {kind}


def test_the_hosts_network_is_no_namespace() -> None:
    assert OWN - set(kinds(RunOptions(), "host")) == {"network"}


def test_those_of_another_container_are_joined() -> None:
    options = namespaces.settle(RunOptions(pid="container:web", ipc="container:web"), lambda name: f"<{name}>")
    assert (options.pid, options.ipc) == ("container:<web>", "container:<web>")
    found = kinds(options)
    assert (found["pid"], found["ipc"], found["uts"]) == ("/proc/7/ns/pid", "/proc/7/ns/ipc", "")
    shm = namespaces.setup(options, "none", pid_of=lambda _name: 7).shm
    assert shm is not None
    assert shm["source"] == "/proc/7/root/dev/shm"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (RunOptions(pid="x"), "--pid: invalid PID mode 'x'"),
        (RunOptions(pid="container:"), "invalid PID mode"),
        (RunOptions(ipc="x"), "--ipc: invalid IPC mode"),
        (RunOptions(uts="container:a"), "--uts: invalid UTS mode"),
        (RunOptions(cgroupns="x"), "--cgroupns: invalid CGROUP mode"),
        (RunOptions(uts="host", hostname="h"), "hostname and the UTS mode"),
        (RunOptions(pid="container:a", restart="always"), "--restart cannot be had with --pid"),
    ],
)
def test_other_modes_are_refused_in_dockers_words(options: RunOptions, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        namespaces.settle(options, str)


def test_shared_memory_goes_with_the_ipc_namespace() -> None:
    def shm(mode: str) -> tuple[str, bool]:
        found = namespaces.setup(RunOptions(ipc=mode), "none", pid_of=lambda _name: 7)
        return (found.shm or {}).get("source", ""), found.own_shm

    assert shm("private") == ("", True)
    assert shm("none") == ("", False)
    assert shm("host") == ("/dev/shm", False)
    for mode in ("private", "none"):
        with pytest.raises(Conflict, match="cannot join IPC of web"):
            namespaces.check_joinable(RunOptions(ipc="container:w"), RunOptions(ipc=mode), "web")
    namespaces.check_joinable(RunOptions(pid="container:w"), RunOptions(ipc="private"), "web")


@pytest.mark.parametrize(
    ("options", "network", "rootless", "kind"),
    [
        (RunOptions(userns="keep-id"), "none", False, Unsupported),
        (RunOptions(userns="remap"), "none", True, Unsupported),
        (RunOptions(userns="remap:nobody-has-this-name"), "none", False, Unsupported),
        (RunOptions(userns="auto"), "none", False, InvalidInput),
        (RunOptions(userns="keep-id", privileged=True), "none", True, InvalidInput),
        (RunOptions(userns="keep-id"), "host", True, InvalidInput),
        (RunOptions(userns="keep-id", pid="host"), "none", True, InvalidInput),
        (RunOptions(userns="keep-id", pid="container:x"), "none", True, InvalidInput),
    ],
)
def test_user_namespaces_that_cannot_be(
    options: RunOptions, network: str, rootless: bool, kind: type[EngineError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    with pytest.raises(kind):
        namespaces.check_user(options, network, rootless=rootless)


def test_user_namespaces_that_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    namespaces.check_user(RunOptions(userns="host", privileged=True), "host", rootless=False)
    namespaces.check_user(RunOptions(userns="keep-id"), "none", rootless=True)


@pytest.mark.parametrize(
    ("own", "count", "expected"),
    [
        (1000, 65536, [(1000, 0, 1), (0, 1, 1000), (1001, 1001, 64536)]),
        (1000, 0, [(1000, 0, 1)]),
        (1000, 500, [(1000, 0, 1), (0, 1, 500)]),
        (1000, 1000, [(1000, 0, 1), (0, 1, 1000)]),
    ],
)
def test_the_users_own_id_is_kept(
    own: int, count: int, expected: list[tuple[int, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: own)
    monkeypatch.setattr(os, "getgid", lambda: own)
    ranges = ((0, own, 1), (1, 100000, count)) if count else ((0, own, 1),)
    id_map = IdMap("subordinate", ranges, ranges)
    found = namespaces.setup(RunOptions(userns="keep-id"), "none", id_map=id_map)
    assert [(each["containerID"], each["hostID"], each["size"]) for each in found.uids] == expected
    assert found.user == f"{own}:{own}"
    covered = sorted(number for inside, _o, size in expected for number in range(inside, inside + size))
    assert len(covered) == len(set(covered)), "no id is mapped twice"
    outside = sorted(number for _i, begin, size in expected for number in range(begin, begin + size))
    assert outside == list(range(count + 1)), "every id of the outer namespace is there, once"


def test_ids_for_remapping_are_those_of_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "_ranges", lambda _path, name: [(5, 10), (50, 3)] if name == "containers" else [])
    uids, gids = namespaces.remapped("remap")
    assert (
        uids
        == gids
        == (
            {"containerID": 0, "hostID": 5, "size": 10},
            {"containerID": 10, "hostID": 50, "size": 3},
        )
    )
    with pytest.raises(Unsupported, match="no range for alice") as caught:
        namespaces.remapped("remap:alice")
    assert "alice:100000:65536" in str(caught.value.hint)


def test_the_hosts_processes_need_its_proc_in_a_user_namespace() -> None:
    assert namespaces.setup(RunOptions(pid="host"), "none").proc is None
    single = IdMap("single", ((0, 1000, 1),), ((0, 1000, 1),))
    bound = namespaces.setup(RunOptions(pid="host"), "none", id_map=single).proc
    assert bound is not None
    assert bound["source"] == "/proc"
