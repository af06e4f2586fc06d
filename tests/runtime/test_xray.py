"""X-rays of real containers, compared with what the kernel says to a program inside."""

from __future__ import annotations

import json
import os
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from jupyter_containers.commands import tables
from jupyter_containers.commands.xray import PARTS, page
from jupyter_containers.engine import Container, Engine
from jupyter_containers.engine.launch import namespaces
from jupyter_containers.engine.views import RunResult
from jupyter_containers.errors import ContainerNotFound
from jupyter_containers.linux.namespaces import FILES
from jupyter_containers.notebook.pages import Page
from tests.support import rootfs, verbs
from tests.support.leaks import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jupyter_containers.engine.explain.xray import Xray
    from tests.support.verbs import Program

pytestmark = pytest.mark.skipif(not rootfs.available(), reason="needs a static busybox")
ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def host(stores: Path) -> Iterator[Engine]:
    with Engine(stores / "xray") as engine:
        engine.images.pull("starter")
        yield engine
        for row in engine.containers.list(all=True):
            engine.containers.remove(row.id, force=True)


@pytest.fixture
def started(host: Engine) -> Iterator[Any]:
    """``started(**options)``: a container that sleeps, with another process beside its first one."""
    names = []

    def start(command: str = "sleep 600 & echo ready; wait", **options: Any) -> str:
        made = host.containers.run("starter", ["sh", "-c", command], detach=True, network="none", **options)
        assert isinstance(made, Container)
        names.append(made.name)
        wait_until(lambda: any(host.containers.logs(made.name)), what="its first line")
        return made.name

    yield start
    for name in reversed(names):
        host.containers.remove(name, force=True)


def inside(host: Engine, name: str, script: str) -> str:
    found = host.containers.exec(name, ["sh", "-c", script])
    assert isinstance(found, RunResult)
    assert found.exit_code == 0, found.stderr
    return found.stdout


def fields(text: str) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def test_namespaces_and_ids_are_those_the_kernel_shows_inside(host: Engine, started: Any) -> None:
    name = started()
    xray = host.containers.xray(name)
    assert xray.live
    links = inside(host, name, "for n in /proc/1/ns/*; do readlink $n; done").split()
    seen = {text.partition(":")[0]: int(text.partition("[")[2].rstrip("]")) for text in links}
    assert {FILES[space.kind]: space.inode for space in xray.namespaces if FILES[space.kind] in seen} == {
        FILES[space.kind]: seen[FILES[space.kind]] for space in xray.namespaces if FILES[space.kind] in seen
    }
    assert len(seen) >= 7
    for space in xray.namespaces:
        own = os.stat(f"/proc/self/ns/{FILES[space.kind]}").st_ino
        assert space.host_inode == own
        assert (space.relation == "host") == (space.inode == own)
        assert space.since is None or space.relation != "host"
    assert {"mount", "pid", "ipc", "uts"} <= {space.kind for space in xray.namespaces if space.relation == "own"}
    maps = [list(map(int, line.split())) for line in inside(host, name, "cat /proc/1/uid_map").splitlines()]
    assert [[each.inside, each.outside, each.count] for each in xray.ids if each.kind == "user"] == maps
    words = xray.ids[0].words
    assert words.startswith("every user inside is the same" if maps[0][2] == 0xFFFFFFFF else "root inside is user")


def test_processes_from_outside_and_from_inside(host: Engine, started: Any) -> None:
    name = started()
    wait_until(lambda: bool(inside(host, name, "pidof sleep || :")), what="the program of its second process")
    monitor, init, other = host.containers.xray(name).processes
    assert (monitor.role, monitor.inside, monitor.depth) == ("monitor", None, 0)
    assert (init.role, init.inside, init.parent, init.user_inside) == ("init", 1, monitor.pid, 0)
    assert (other.parent, other.depth, other.command) == (init.pid, 2, "sleep 600")
    assert str(other.inside) in inside(host, name, "pidof sleep").split()
    assert init.user == os.stat(f"/proc/{init.pid}").st_uid
    count = inside(host, name, "ls /proc/1/fd | wc -l").strip()
    assert init.descriptors is None or str(init.descriptors) == count


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"cap_drop": ["ALL"], "cap_add": ["NET_RAW", "CHOWN"]},
        {"user": "1000:1000"} if ROOT else {"cap_drop": ["CHOWN"]},
        {"security_opt": ["no-new-privileges", "seccomp=unconfined"]},
        {"privileged": True},
    ],
    ids=["default", "two", "user", "unconfined", "privileged"],
)
def test_capabilities_and_the_filter(host: Engine, started: Any, options: dict[str, Any]) -> None:
    name = started(**options)
    xray = host.containers.xray(name)
    status = fields(inside(host, name, "cat /proc/1/status"))
    for field, attribute in (("CapEff", "effective"), ("CapPrm", "permitted"), ("CapBnd", "bounding")):
        mask = sum(1 << number for number, each in enumerate(xray.capabilities) if getattr(each, attribute))
        assert f"{mask:016x}" == status[field], field
    security = dict(xray.security)
    assert security["no_new_privs"].startswith("yes" if status["NoNewPrivs"] == "1" else "no")
    assert ("a filter of" in security["seccomp"]) == (status["Seccomp"] == "2")
    answers = {each.call: each.answer for each in xray.seccomp if each.call not in {"personality", "clone"}}
    tried = inside(host, name, "unshare -U true 2>&1 || :")
    if answers["unshare"] == "EPERM":
        assert "not permitted" in tried
    else:
        assert answers["mount"] == "allowed"
        assert status["Seccomp"] == "0"


def test_mounts_layers_and_covered_paths(host: Engine, started: Any, tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    name = started(
        mount=[f"type=bind,source={tmp_path}/a b,target=/in,readonly", "type=volume,source=kept,target=/data"],
        tmpfs=["/scratch"],
    )
    xray = host.containers.xray(name)
    lines = inside(host, name, "cat /proc/1/mountinfo").splitlines()
    assert [each.mount_id for each in xray.mounts] == [int(line.split()[0]) for line in lines]
    by = {each.target: each for each in xray.mounts}
    assert by["/in"].what == f"a directory or file of the host: {tmp_path}/a b"
    assert by["/in"].read_only
    assert by["/data"].what == "volume: kept"
    assert by["/scratch"].what.startswith("memory")
    assert by["/"].what.endswith("what the container writes")
    layers = host.images.layers("starter")
    assert [layer.chain_id for layer in xray.layers[:-1]] == [str(layer.chain_id) for layer in layers]
    assert [layer.created_by for layer in xray.layers[:-1]] == [layer.created_by for layer in layers]
    assert xray.layers[-1].directory.endswith("/upper")
    for path in xray.paths:
        assert path.holds is not False, path
    hidden = next(each.path for each in xray.paths if each.kind == "masked" and each.holds)
    assert inside(host, name, f"test -d {hidden} && ls {hidden} || cat {hidden}") == ""
    host.containers.remove(name, force=True)
    host.volumes.remove("kept")
    host.containers.create("starter", ["true"], name=name, network="none")


def test_limits_with_their_units(host: Engine, started: Any) -> None:
    name = started(memory="64m", cpus=0.5, pids_limit=50, limits="drop")
    xray = host.containers.xray(name)
    if not xray.cgroup:
        assert "Limits: it has no cgroup." in xray.words
        pytest.skip("this user has no cgroups")
    by = {(each.kind, each.name): each for each in xray.cgroup}
    limit = by.get(("limit", "memory limit"))
    if limit is not None:
        assert (limit.value, limit.unit, limit.text) == (64 << 20, "bytes", "64 MiB")
        assert Path(limit.file).read_text(encoding="ascii").strip() == str(64 << 20)
    quota = by.get(("limit", "CPU time per real time"))
    if quota is not None:
        assert quota.value == 0.5
    if ("limit", "processes and threads, limit") in by:
        assert by["limit", "processes and threads, limit"].value == 50
        assert by["counter", "processes and threads"].value == 2
    assert all(each.unit in {"bytes", "seconds", "CPUs", "count", "text"} for each in xray.cgroup)


def test_what_is_shared_is_named(host: Engine, started: Any) -> None:
    first = started(name="first", ipc="shareable")
    second = started(name="second", ipc=f"container:{first}")
    spaces = {space.kind: space for space in host.containers.xray(second).namespaces}
    assert spaces["ipc"].relation == "shared"
    assert "first" in spaces["ipc"].shared_with
    assert spaces["mount"].relation == "own"
    third = started(name="third", uts="host")
    assert {s.kind: s.relation for s in host.containers.xray(third).namespaces}["uts"] == "host"


@pytest.mark.root
def test_remapped_ids_in_words(host: Engine, started: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "_ranges", lambda _path, _name: [(231_072, 65_536)])
    xray = host.containers.xray(started(userns="remap"))
    assert {space.kind: space.relation for space in xray.namespaces}["user"] == "own"
    init = next(task for task in xray.processes if task.role == "init")
    assert init.user_inside == 0
    assert (init.user, xray.ids[0].outside) == (231_072, 231_072)


def test_the_network_as_the_container_has_it(apart: None, engine: Engine) -> None:  # noqa: ARG001 - entered first
    engine.images.pull("starter")
    engine.containers.run("starter", ["sleep", "600"], name="net", detach=True)
    xray = engine.containers.xray("net")
    by = {each.name: each for each in xray.interfaces}
    seen = engine.containers.exec("net", ["ip", "-o", "addr"])
    assert isinstance(seen, RunResult)
    for line in seen.stdout.splitlines():
        _number, interface, _family, address, *_ = line.split()
        assert address in by[interface].addresses
    gateway = engine.containers.exec("net", ["ip", "route"])
    assert isinstance(gateway, RunResult)
    default = [route for route in xray.routes if route.destination == "default" and "." in route.gateway]
    assert [f"default via {route.gateway} dev {route.interface}" for route in default] == [
        line.strip().partition(" metric")[0] for line in gateway.stdout.splitlines() if line.startswith("default")
    ]


def test_paused_ended_and_never_started(host: Engine, started: Any) -> None:
    name = started(memory="64m", limits="drop", cap_drop=["CHOWN"])
    running = host.containers.xray(name)
    host.containers.pause(name)
    paused = host.containers.xray(name)
    assert (paused.state, paused.live) == ("paused", True)
    assert paused.namespaces == running.namespaces
    assert paused.mounts == running.mounts
    host.containers.unpause(name)
    host.containers.kill(name)
    ended = host.containers.xray(name)
    assert (ended.state, ended.live, ended.pid, ended.processes) == ("exited", False, None, ())
    assert {space.kind for space in ended.namespaces if space.relation == "own"} == {
        space.kind for space in running.namespaces if space.relation == "own"
    }
    assert [each.bounding for each in ended.capabilities] == [each.bounding for each in running.capabilities]
    assert ended.seccomp == running.seccomp
    assert [each.words for each in ended.ids] == [each.words for each in running.ids]
    assert "has no process" in ended.words[0]
    assert [figure.text for figure in ended.cgroup if figure.name == "memory limit"] == ["64 MiB"]
    with pytest.raises(ContainerNotFound):
        host.containers.xray("nobody")


def test_an_init_that_is_closed_is_looked_at_by_its_children(host: Engine, started: Any) -> None:
    """``--init`` stays in the memory of its starter, which not even its own user may read."""
    name = started(init=True)
    xray = host.containers.xray(name)
    assert {space.kind: space.relation for space in xray.namespaces}["mount"] == "own"
    assert any(each.target == "/proc" for each in xray.mounts)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.add(tag)
        assert {name for name, _ in attrs} <= {"scope", "style", "open"}


def test_nothing_of_a_container_reaches_the_screen_as_it_is(host: Engine, started: Any) -> None:
    script = "sleep 600 & echo ready; wait; : '<script>x</script>' \x1b]0;owned\x07"
    name = started(script, tmpfs=["/<b>\x1b[2J"])
    xray = host.containers.xray(name)
    shown = page(xray, full=True)
    text = "\n".join(tables.page(shown, pd.Timestamp.now("UTC").to_pydatetime()))
    assert "\x1b" not in text
    assert "\\x1b[2J" in text
    html = Page(shown)._repr_html_()
    tags = _Tags()
    tags.feed(html)
    assert not tags.seen & {"script", "b"}
    assert "&lt;script&gt;" in html
    assert "&lt;b&gt;" in html


def test_everything_is_a_table_too(host: Engine, started: Any) -> None:
    xray: Xray = host.containers.xray(started())
    found = Page(page(xray))
    assert len(found) == len(PARTS)
    for name in found:
        assert len(found[name]) == len(found[name].index)
        assert f"{name} (".lower() in found._repr_html_().lower() or found[name].empty
    mounts = found["mounts"]
    assert mounts["read_only"].dtype == "boolean"
    assert len(mounts) == len(xray.mounts)
    assert pd.DataFrame(xray.mounts)["target"].tolist() == [each.target for each in xray.mounts]
    assert found.value is xray
    assert found["capabilities"].query("effective and docker").index.str.startswith("CAP_").all()


@pytest.mark.parametrize("program", [verbs.OURS], indirect=True)  # Docker has no such verb
def test_on_the_command_line(program: Program) -> None:
    lines = program.good("xray", "web")
    assert lines[0] == "X-ray of web"
    assert {"Namespaces:", "Mounts:", "Capabilities:"} <= set(lines)
    (document,) = json.loads("\n".join(program.good("xray", "--format", "json", "web")))
    assert document["name"] == "web"
    assert program.good("xray", "--format", "{{.state}} {{len .namespaces}}", "still") == ["created 8"]
    assert program("xray", "-p", "nothing", "web").status == 125
    assert "Mounts:" not in program.good("xray", "-p", "namespaces", "web")
