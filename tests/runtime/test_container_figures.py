"""``stats``, ``prune`` and ``ps`` with its filters and forms, by our command line and, where dockerd runs, Docker's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.engine import Engine
from jupyter_containers.errors import ContainerNotFound, InvalidInput
from tests.support import verbs
from tests.support.leaks import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.verbs import Program


def test_stats_has_the_columns_and_the_forms_of_dockers(program: Program) -> None:
    titles = "CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O   BLOCK I/O   PIDS"
    header, row = program.good("stats", "--no-stream", "web")
    assert header.split() == titles.split()
    assert row.split()[1] == "web"
    form = "{{.Name}} {{.PIDs}} {{.NetIO}}"
    assert program.good("stats", "--no-stream", "--format", form, "web") == ["web 1 0B / 0B"]
    assert program.good("stats", "--no-stream", "--format", "{{.Name}}") == ["web"]
    assert "still" in program.good("stats", "--no-stream", "-a", "--format", "{{.Name}}")
    assert program("stats", "--no-stream", "nobody").status == 1


def test_a_history_is_kept_in_the_background_and_bounded(
    apart: None,  # noqa: ARG001 - entered before the engine is made
    engine: Engine,
    store_root: Path,
) -> None:
    engine.images.pull("starter")

    def begin(name: str) -> None:
        engine.containers.run("starter", ["sleep", "1000"], detach=True, network="none", name=name, stop_timeout=0)

    with engine.containers.stats_history(interval=0.05, keep=5) as history:
        assert history.rows == []
        begin("one")
        wait_until(lambda: len(history) == 5, what="five moments")
        engine.containers.remove("one", force=True)
        begin("two")  # after none ran
        wait_until(lambda: {row.name for row in history.rows} == {"two"}, what="the older moments to go")
        assert len(history) <= 5
    assert not history.running
    frame = history.frame()
    assert (frame.index.name, str(frame.index.dtype), len(frame)) == ("time", "datetime64[ns, UTC]", len(history.rows))
    assert frame.index.is_monotonic_increasing
    assert set(frame["pids"]) == {1}
    still = history.rows
    with Engine(store_root) as another:
        other = another.containers.stats_history("two", interval=1000.0)
    assert not other.running  # its engine was closed, and did not wait for the interval
    assert history.rows == still


def test_a_history_of_nobody_is_refused_at_once(engine: Engine) -> None:
    with pytest.raises(ContainerNotFound):
        engine.containers.stats_history("nobody")
    with pytest.raises(InvalidInput, match="interval"):
        engine.containers.stats_history(interval=0)
    with pytest.raises(InvalidInput, match="kept"):
        engine.containers.stats_history(keep=0)


def test_what_a_container_uses(apart: None, engine: Engine) -> None:  # noqa: ARG001 - entered before the engine is made
    """By its cgroup, or by its processes where it has none."""
    engine.images.pull("starter")
    script = "head -c 20000000 /dev/zero > /dev/shm/x; echo ready; while :; do :; done"
    engine.containers.run("starter", ["sh", "-c", script], detach=True, network="none", name="busy", limits="drop")
    wait_until(lambda: any(engine.containers.logs("busy")), what="its memory")
    (first,), (second,) = engine.containers.stats("busy", interval=0.2, count=2)
    assert first.cpu_percent is not None
    assert first.cpu_percent > 0
    assert first.pids == 1
    assert second.time > first.time
    assert first.source in {"cgroup", "processes"}
    assert first.memory is not None
    assert first.memory > (20_000_000 if first.source == "cgroup" else 10_000)
    assert first.memory_limit is not None
    assert first.memory_limit > first.memory
    engine.containers.pause("busy")
    ((still,),) = engine.containers.stats("busy", interval=0.2, count=1)
    assert still.cpu_percent is not None
    assert still.cpu_percent < 50
    samples = engine.containers.stats("busy", interval=0.1)
    next(samples)
    engine.containers.remove("busy", force=True)
    assert list(samples) in ([], [[]])
    with pytest.raises(ContainerNotFound):
        engine.containers.stats("busy")
    with pytest.raises(InvalidInput, match="interval"):
        engine.containers.stats(interval=0)


def test_ps_filters_and_forms(program: Program) -> None:
    """Of one key one has to match, of every key one; three containers beside the fixture's two."""
    options = ["--network", "none", "--label", "tier=db", "-v", "jc-ps:/data", "--expose", "81"]
    program.good("create", *options, "--name", "ended", program.image, "sh", "-c", "echo 12345 > /x; exit 3")
    try:
        program.good("start", "ended")
        program.good("wait", "ended")
        names = "{{.Names}}"
        for filters, expected in [
            ("", "web"),
            ("status=exited", "ended"),
            ("status=created status=running", "still web"),
            ("exited=3", "ended"),
            ("name=^e name=eb$", "ended web"),
            ("label=tier", "ended"),
            ("label=tier=db label=tier", "ended"),
            ("label=tier=db label=no", ""),
            ("volume=jc-ps", "ended"),
            ("volume=/data", "ended"),
            ("network=none", "ended still web"),
            ("since=web", "ended still"),
            ("before=ended", "still web"),
            (f"ancestor={program.image}", "ended still web"),
            ("health=none", "ended still web"),
            ("is-task=true", ""),
        ]:
            words = [word for text in filters.split() for word in ("--filter", text)]
            every = ["-a"] if filters else []
            found = program.good("ps", *every, *words, "--format", names)
            assert sorted(found) == expected.split(), (filters, found)
        if program.who == verbs.OURS:  # Docker knows the ports only of what runs, and only in a network
            for text, there in (("81", ["ended"]), ("80-90/tcp", ["ended"]), ("81/udp", [])):
                assert program.good("ps", "-a", "--filter", f"expose={text}", "--format", names) == there
            (document,) = map(json.loads, program.good("ps", "-l", "--format", "json"))  # newer than this Docker
            assert (document["Names"], document["Image"], document["State"]) == ("ended", program.image, "exited")
        for wrong in ("status=odd", "health=odd", "exited=x", "before=nobody", "colour=red"):
            assert program("ps", "--filter", wrong).status == 1, wrong
        assert program.good("ps", "-l", "--format", names) == ["ended"]
        assert program.good("ps", "-n", "2", "--format", names) == ["ended", "still"]
        form = '{{.Names}}|{{.State}}|{{.Label "tier"}}|{{.LocalVolumes}}|{{.Mounts}}|{{.Networks}}'
        row = program.good("ps", "-a", "--filter", "name=ended", "--format", form)
        assert row == ["ended|exited|db|1|jc-ps|none"]
        table = program.good(
            "ps", "-a", "--filter", "name=ended", "--format", r"table {{.Names}}\t{{.Image}}\t{{.State}}"
        )
        assert [line.split() for line in table] == [["NAMES", "IMAGE", "STATE"], ["ended", program.image, "exited"]]
        assert program.good("ps", "-as", "--filter", "name=ended", "--format", "{{.Size}}")[0].startswith(
            "6B (virtual "
        )
        assert program.good("ps", "-as", "--filter", "name=ended")[0].split()[-1] == "SIZE"
        assert len(program.good("ps", "-aq", "--no-trunc", "--filter", "name=ended")[0]) == 64
    finally:
        program.good("rm", "-v", "ended")
        program.good("volume", "rm", "jc-ps")


def test_prune(program: Program) -> None:
    """What runs stays, and what the filters leave out."""
    for name, label in (("one", "keep=1"), ("two", "keep=0"), ("three", "other=1")):
        program.good("create", "--network", "none", "--label", label, "--name", name, program.image, "true")
    program.good("commit", "one", "jc-prune:1")
    program.good("commit", "-c", "LABEL anew=1", "one", "jc-prune:1")  # the first one loses its name
    program.good("rm", "one")
    assert program.good("container", "prune", "-f", "--filter", "until=1h")[-1] == "Total reclaimed space: 0B"
    program.good("container", "prune", "-f", "--filter", "label!=keep", "--filter", "label=other")
    left = program.good("ps", "-a", "--format", "{{.Names}}")
    assert sorted(left) == ["still", "two", "web"]
    pruned = program.good("container", "prune", "-f", "--filter", "label=keep=0")
    assert (pruned[0], len(pruned[1]), pruned[2]) == ("Deleted Containers:", 64, "")
    program.good("container", "prune", "--force")
    assert program.good("ps", "-a", "--format", "{{.Names}}") == ["web"]
    assert program("container", "prune", "-f", "--filter", "colour=red").status == 1
    before = len(program.good("images", "-aq"))
    assert program.good("image", "prune", "-f", "--filter", "label=anew")[-1].startswith("Total reclaimed space: 0B")
    assert "Deleted Images:" in program.good("image", "prune", "-f")
    assert len(program.good("images", "-aq")) == before - 1
    pruned = program.good("system", "prune", "-f", "--filter", "label=anew")
    assert program("image", "inspect", "jc-prune:1").status == 0, pruned
    program.good("image", "prune", "-af", "--filter", "label=anew")
    assert program("image", "inspect", "jc-prune:1").status == 1
    assert program("image", "inspect", program.image).status == 0  # of a container that runs


def test_inspect_by_a_template(program: Program) -> None:
    form = "{{.Name}} {{.State.Status}} {{if .State.Health}}checked{{else}}not checked{{end}} {{json .Config.Cmd}}"
    assert program.good("inspect", "-f", form, "web") == ['/web running not checked ["sleep","1000"]']
    form = (
        '{{range .Mounts}}{{.Type}}{{end}}{{len .Mounts}} {{index .Config.Labels "none"}}|{{.HostConfig.NetworkMode}}'
    )
    assert program.good("container", "inspect", "--format", form, "still", "web") == ["0 |none", "0 |none"]
    assert program.good("inspect", "--size", "-f", "{{.SizeRw}}", "still") == ["0"]
    assert program("inspect", "-f", "{{.Nothing}}", "web").status == 1
    answer = program("inspect", "-f", "{{.Name}}", "nobody", "web")
    assert (answer.status, answer.lines) == (1, ["/web"])
    assert program("inspect", "--type", "image", "web").status == 1
    assert program.good("image", "inspect", "-f", "{{.Os}}", program.image) == ["linux"]
