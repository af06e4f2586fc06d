from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from jupyter_containers.commands import results
from jupyter_containers.commands.context import Context
from jupyter_containers.commands.parser import parse
from jupyter_containers.commands.table import find
from jupyter_containers.errors import (
    ContainerNotFound,
    EngineError,
    InvalidInput,
    NotFound,
    Unsupported,
    UsageError,
)
from jupyter_containers.events import Event, Output
from tests.support.fake_engine import CONTAINER_ID, IMAGE_ID, FakeEngine, result

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def fake() -> FakeEngine:
    return FakeEngine()


def call(fake: FakeEngine, words: str | list[str], **context: Any) -> results.Result:
    command, rest = find(words.split() if isinstance(words, str) else words, program="p")
    surroundings = Context(lambda: fake, **context)  # type: ignore[arg-type, return-value]  # a stand-in
    return command.handler(surroundings, parse(command, rest, program="p"))


def test_run_hands_every_option_to_the_engine(fake: FakeEngine, tmp_path: Path) -> None:
    line = (
        "run --rm --name web -h box -w /w -u 1:2 -m 64m --memory-swap -1 --cpus 1.5 --pids-limit 9 --read-only --init "
        f"--network none -l a=b -v /a:/b --mount type=bind,source={tmp_path},target=/c,ro --tmpfs /t --cap-drop ALL "
        "--cap-add KILL --security-opt no-new-privileges --ulimit nofile=1 --add-host a:1.2.3.4 --dns 1.1.1.1 "
        "--stop-signal INT --stop-timeout 3 --pull never --platform linux/amd64 --shm-size 1m -c 5 --privileged "
        f"--entrypoint /bin/ls -e A=1 --cidfile {tmp_path}/id alpine -l /"
    )
    outcome = call(fake, line)
    assert isinstance(outcome, results.Ran)
    asked = fake.last("run")
    options = asked["options"]
    assert (asked["image"], asked["command"], asked["stdin"]) == ("alpine", ["-l", "/"], None)
    assert (options.remove, options.name, options.hostname, options.workdir) == (True, "web", "box", "/w")
    assert (options.memory, options.memory_swap, options.cpus, options.pids_limit) == (64 << 20, -1, 1.5, 9)
    assert (options.volume, options.mount) == (("/a:/b",), (f"type=bind,source={tmp_path},target=/c,ro",))
    assert (options.tmpfs, options.cap_add, options.cap_drop) == (("/t",), ("KILL",), ("ALL",))
    assert (options.read_only, options.init, options.privileged, options.network) == (True, True, True, ("none",))
    assert (options.label, options.env, options.entrypoint) == (("a=b",), ("A=1",), "/bin/ls")
    assert (options.stop_signal, options.stop_timeout, options.pull) == ("INT", 3, "never")
    assert (options.shm_size, options.cpu_shares, options.user) == (1 << 20, 5, "1:2")


def test_bare_variables_take_the_callers_value_and_files_come_first(fake: FakeEngine, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("A=file\nHERE\nB=2\n")
    values = {"HERE": "x y", "A": "outer"}
    call(fake, f"run -e A -e GONE --env-file {file} alpine", lookup=values.get)
    assert fake.last("run")["options"].env == ("A=file", "HERE=x y", "B=2", "A=outer")


def test_standard_input_is_only_handed_on_when_asked_for(fake: FakeEngine) -> None:
    call(fake, "run alpine cat", stdin=b"body")
    assert fake.last("run")["stdin"] is None
    call(fake, "run -i alpine cat", stdin=b"body")
    assert fake.last("run")["stdin"] == b"body"


def test_a_cell_is_the_standard_input_and_a_script_without_a_command(fake: FakeEngine) -> None:
    call(fake, "run alpine", stdin=b"echo", script=True)
    asked = fake.last("run")
    assert (asked["command"], asked["stdin"], asked["options"].entrypoint) == (["/bin/sh", "-s"], b"echo", "")
    call(fake, "run alpine cat", stdin=b"echo", script=True)
    asked = fake.last("run")
    assert (asked["command"], asked["stdin"], asked["options"].entrypoint) == (["cat"], b"echo", None)
    call(fake, "exec web", stdin=b"echo", script=True)
    assert fake.last("exec")["command"] == ["/bin/sh", "-s"]


def test_a_detached_container_is_given_back(fake: FakeEngine) -> None:
    outcome = call(fake, "run -d --name web alpine")
    assert isinstance(outcome, results.Started)
    assert outcome.container.id == CONTAINER_ID


def test_output_goes_to_the_sink(fake: FakeEngine) -> None:
    events: list[Event] = []
    call(fake, "run alpine echo hi", sink=events.append)
    assert events == [Output("stdout", b"hi\n")]


def test_exec(fake: FakeEngine) -> None:
    fake.containers.ended = result(7)
    outcome = call(fake, "exec -w /w -u me -e A=1 web ls -l")
    assert isinstance(outcome, results.Ran)
    assert (outcome.result.exit_code, outcome.verb) == (7, "exec")
    asked = fake.last("exec")
    assert (asked["command"], asked["workdir"], asked["user"], asked["env"]) == (["ls", "-l"], "/w", "me", ["A=1"])
    assert call(fake, "exec -d web ls") == results.Lines(())
    with pytest.raises(UsageError, match="exec requires a command"):
        call(fake, "exec web")


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("ps", ["web"]),
        ("ps -a", ["web", "old"]),
        ("ps -n 1", ["web"]),
        ("ps -l", ["web"]),
        ("ps -n -1", ["web", "old"]),
        ("ps --filter status=exited", ["old"]),
        ("ps --filter exited=3", ["old"]),
        ("ps -a -f name=we", ["web"]),
        ("ps -a -f id=abad", ["old"]),
        ("ps -a -f label=role", ["web"]),
        ("ps -a -f label=role=back", []),
        ("ps -a -f ancestor=alpine", ["web", "old"]),
        ("ps -a -f ancestor=alpine -f name=old", ["old"]),
        ("ps -a -f status=exited -f status=running", ["web", "old"]),
    ],
)
def test_ps_lists_what_matches(fake: FakeEngine, line: str, names: list[str]) -> None:
    listing = call(fake, line)
    assert isinstance(listing, results.ContainerListing)
    assert [row.name for row in listing.rows] == names


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("images", 1),
        ("images -a", 2),
        ("images -a --filter dangling=true", 1),
        ("images alpine", 1),
        ("images alpine:3", 0),
        ("images -f reference=al*:latest", 1),
        ("images -f label=tier=base", 1),
        ("images -f label=tier=other", 0),
    ],
)
def test_images_lists_what_matches(fake: FakeEngine, line: str, count: int) -> None:
    listing = call(fake, line)
    assert isinstance(listing, results.ImageListing)
    assert len(listing.rows) == count


@pytest.mark.parametrize("line", ["ps -f status", "ps -f colour=red", "images -f colour=red", "logs -n x web"])
def test_unknown_filters_and_counts_are_refused(fake: FakeEngine, line: str) -> None:
    with pytest.raises(InvalidInput):
        call(fake, line)


def test_logs(fake: FakeEngine) -> None:
    log = call(fake, "logs -n 5 -f web")
    assert isinstance(log, results.Log)
    assert list(log.output) == [Output("stdout", b"one\n"), Output("stderr", b"two\n")]
    assert fake.last("logs") == {"follow": True, "tail": 5, "since": None, "until": None}
    stamped = call(fake, "logs -t --tail all web")
    assert isinstance(stamped, results.Log)
    assert next(stamped.output).data == b"2026-11-20T12:30:15.000000000Z one\n"


def test_logs_with_details_and_a_span(fake: FakeEngine) -> None:
    log = call(fake, "logs --since 10m --until 5m --details web")
    assert isinstance(log, results.Log)
    assert next(log.output).data == b"tier=a+b one\n"
    assert fake.last("logs") == {"follow": False, "tail": None, "since": "10m", "until": "5m"}


def test_one_failure_does_not_keep_the_others_from_it(fake: FakeEngine) -> None:
    outcome = call(fake, "rm -v web gone old")
    assert isinstance(outcome, results.Lines)
    assert outcome.lines == ("web", "old")
    assert [type(error) for error in outcome.errors] == [ContainerNotFound]
    assert fake.last("rm") == {"name": "old", "force": False, "volumes": True}


def test_rm_with_force_is_content_when_there_is_none(fake: FakeEngine) -> None:
    assert call(fake, "rm -f web gone old") == results.Lines(("web", "old"))


def test_stop_kill_and_wait(fake: FakeEngine) -> None:
    call(fake, "stop web")
    assert fake.last("stop") == {"time": None, "signal": None}
    call(fake, "stop -t 0 -s INT web")
    assert fake.last("stop") == {"time": 0, "signal": "INT"}
    call(fake, "kill web")
    assert fake.last("kill") == "SIGKILL"
    assert call(fake, "wait web old") == results.Lines(("3", "3"))
    call(fake, "wait --condition removed web")
    assert fake.last("wait") == "removed"


def test_the_verbs_of_a_life(fake: FakeEngine) -> None:
    assert call(fake, "create --name web -it --restart always alpine sh") == results.Lines((CONTAINER_ID,))
    created = fake.last("create")
    assert (created["image"], created["command"]) == ("alpine", ["sh"])
    assert (created["options"].restart, created["options"].detach, created["options"].tty) == ("always", True, True)
    for verb in ("start", "pause", "unpause"):
        assert call(fake, f"{verb} web gone").lines == ("web",)  # type: ignore[union-attr]
        assert fake.last(verb) == "web"
    call(fake, "restart -t 3 web")
    assert fake.last("restart") == {"time": 3, "signal": None}
    call(fake, "rename web site")
    assert fake.last("rename") == ("web", "site")
    call(fake, "update -m 64m --cpus 2 --restart on-failure:3 web")
    assert fake.last("update") == {"memory": 64 << 20, "cpus": 2.0, "restart": "on-failure:3"}
    with pytest.raises(UsageError, match="an option"):
        call(fake, "update web")
    with pytest.raises(UsageError, match="only one"):
        call(fake, "start -a web old")
    assert call(fake, "top web") == results.Table(("PID", "CMD"), (("42", "sleep"),))


def test_port_shows_all_or_one(fake: FakeEngine) -> None:
    assert call(fake, "port web") == results.Lines(("80/tcp -> 127.0.0.1:8080", "80/tcp -> [::1]:8080"))
    assert call(fake, "port web 80") == results.Lines(("127.0.0.1:8080", "[::1]:8080"))
    with pytest.raises(NotFound, match="no public port 80/udp published for web"):
        call(fake, "port web 80/udp")
    with pytest.raises(UsageError, match="invalid port 'http'"):
        call(fake, "port web http")
    call(fake, "update --publish-add 8081:80 --publish-rm 80 web")
    assert fake.last("update") == {"publish_add": ("8081:80",), "publish_rm": ("80",)}
    with pytest.raises(UsageError, match="contradict"):
        call(fake, "run -d -a stdout alpine")
    with pytest.raises(UsageError, match="no stream"):
        call(fake, "run -a stdlog alpine")


def test_only_the_streams_asked_for_are_shown(fake: FakeEngine) -> None:
    fake.containers.output = [Output("stdout", b"out"), Output("stderr", b"err")]
    events: list[Event] = []
    call(fake, "run -a stderr alpine", sink=events.append)
    assert events == [Output("stderr", b"err")]


def test_verbs_on_images(fake: FakeEngine) -> None:
    pulled = call(fake, "pull alpine")
    assert isinstance(pulled, results.Fetched)
    assert pulled.name == "docker.io/library/alpine:latest"
    assert call(fake, "rmi alpine") == results.Lines(("Untagged: alpine", f"Deleted: {IMAGE_ID}"))
    call(fake, "tag alpine mine:1")
    assert fake.last("tag") == ("alpine", "mine:1")
    assert isinstance(call(fake, "history alpine"), results.HistoryListing)
    assert isinstance(call(fake, "layers alpine"), results.LayerListing)


def test_inspect_looks_for_a_container_and_then_for_an_image(fake: FakeEngine) -> None:
    outcome = call(fake, "inspect web alpine nothing")
    assert isinstance(outcome, results.Documents)
    assert [document["Id"] for document in outcome.documents] == [CONTAINER_ID, str(IMAGE_ID)]
    assert [type(error) for error in outcome.errors] == [NotFound]
    only = call(fake, "inspect --type image web")
    assert isinstance(only, results.Documents)
    assert [str(error) for error in only.errors] == ["no such image: web"]


def test_build_takes_a_directory(fake: FakeEngine, tmp_path: Path) -> None:
    ids = tmp_path / "id"
    built = call(
        fake,
        f"build -t a:1 -t b --build-arg X=1 --build-arg Y --label k=v --target s -f D --iidfile {ids} dir",
        lookup={"Y": "2"}.get,
    )
    assert isinstance(built, results.Built)
    asked = fake.last("build")
    assert (asked["path"], asked["file"], asked["dockerfile"], asked["tag"]) == ("dir", "D", None, ["a:1", "b"])
    assert (asked["build_arg"], asked["label"], asked["target"]) == ({"X": "1", "Y": "2"}, {"k": "v"}, "s")
    assert ids.read_text() == IMAGE_ID


def test_build_takes_the_dockerfile_from_a_cell_or_standard_input(fake: FakeEngine) -> None:
    call(fake, "build -t x", dockerfile="FROM a")
    assert (fake.last("build")["path"], fake.last("build")["dockerfile"]) == (".", "FROM a")
    call(fake, "build dir", dockerfile="FROM a")
    assert fake.last("build")["path"] == "dir"
    call(fake, "build -", stdin=io.BytesIO(b"FROM b"))
    assert (fake.last("build")["path"].read(), fake.last("build")["dockerfile"]) == (b"FROM b", None)
    call(fake, "build -f - dir", stdin=b"FROM c")
    assert (fake.last("build")["path"], fake.last("build")["dockerfile"]) == ("dir", "FROM c")


def test_build_refuses_what_it_cannot_read(fake: FakeEngine) -> None:
    with pytest.raises(UsageError, match="build requires exactly 1 argument"):
        call(fake, "build -t x")
    with pytest.raises(UsageError, match="no standard input"):
        call(fake, "build -")
    with pytest.raises(InvalidInput, match="UTF-8"):
        call(fake, "build -f - .", stdin=b"\xff")
    with pytest.raises(UsageError, match="the cell's body is the Dockerfile"):
        call(fake, "build -f D .", dockerfile="FROM a")


def test_errors_of_the_engine_pass_through(fake: FakeEngine) -> None:
    with pytest.raises(EngineError, match="no such image: missing"):
        call(fake, "run missing")


def test_networks_by_verb(fake: FakeEngine) -> None:
    line = "network create --subnet 10.5.0.0/24 -o com.docker.network.driver.mtu=1300 --internal --label a=b back"
    assert call(fake, line) == results.Lines(("0" * 64,))
    name, keywords = fake.asked[-1]
    assert name == "network create back"
    assert (keywords["subnet"], keywords["internal"], keywords["labels"]) == (("10.5.0.0/24",), True, ("a=b",))
    listing = call(fake, "network ls --filter name=brid --filter driver=bridge -q")
    assert isinstance(listing, results.NetworkListing)
    assert ([row.name for row in listing.rows], listing.quiet) == (["bridge"], True)
    assert call(fake, "network ls --filter type=custom").rows == ()  # type: ignore[union-attr]  # a listing
    call(fake, "network connect --alias db --ip 10.5.0.9 back web")
    assert fake.asked[-1][0] == "network connect back web"
    assert fake.asked[-1][1]["aliases"] == ("db",)
    call(fake, "network disconnect -f back web")
    assert fake.asked[-1] == ("network disconnect back web", {"force": True})
    assert call(fake, "network rm a b") == results.Lines(("a", "b"))
    assert call(fake, "network prune -f") == results.Lines(("Deleted Networks:", "old"))
    for wrong in ("network connect --link x back web", "network create --ipam-driver dhcp x", "network ls -f x=y"):
        with pytest.raises((UsageError, InvalidInput)):
            call(fake, wrong)


def test_images_by_a_template(fake: FakeEngine) -> None:
    found = call(fake, "images -a --format {{.Repository}}:{{.Tag}}={{.Size}}")
    assert isinstance(found, results.Lines)
    assert found.lines == ("alpine:latest=7.83MB", "<none>:<none>=12B")


def test_the_time_to_stop_has_two_names(fake: FakeEngine) -> None:
    for line in ("stop -t 3 web", "stop --time 3 web", "stop --timeout 3 web"):
        call(fake, line)
        assert fake.asked[-1] == ("stop", {"time": 3, "signal": None})
    with pytest.raises(Unsupported, match="--link"):
        call(fake, "rm -l web/db")


def shown(fake: FakeEngine, line: str | list[str]) -> list[str]:
    found = call(fake, line)
    assert isinstance(found, results.Lines)
    return list(found.lines)


def test_networks_and_history_by_a_template(fake: FakeEngine) -> None:
    template = '{{.Name}} {{.IPv6}}{{.Label "x"}}'
    assert shown(fake, ["network", "ls", "--format", template])[0] == "bridge false"
    assert json.loads(shown(fake, "network ls --format json")[0])["Driver"] == "bridge"
    table = shown(fake, ["network", "ls", "--format", "table {{.ID}}\\t{{.Name}}"])
    assert table[0].split() == ["NETWORK", "ID", "NAME"]
    steps = fake.images.history("alpine")
    assert shown(fake, "history --format {{.Comment}}|{{.Size}} --human=false alpine") == [
        f"{step.comment}|{step.size}" for step in steps
    ]
    titles = " ".join(shown(fake, "history --human=false alpine")[0].split())
    assert titles == "IMAGE CREATED AT CREATED BY SIZE COMMENT"
    assert isinstance(call(fake, "history -q --format json alpine"), results.HistoryListing)
    with pytest.raises(InvalidInput):
        call(fake, "history --format {{.ID alpine")


def test_images_by_their_age(fake: FakeEngine) -> None:
    def names(query: str) -> set[str | None]:
        listing = call(fake, f"images -a -f {query}")
        assert isinstance(listing, results.ImageListing)
        return {row.repository for row in listing.rows}

    everything = names("until=2999-01-01")
    assert "alpine" in everything
    assert names("until=1980-01-01") == {None}  # one that does not say when it was made
    for query in ("before=alpine", "since=alpine"):
        assert "alpine" not in names(query) <= everything
