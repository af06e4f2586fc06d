"""What listings and ``inspect`` print: the forms and fields that scripts read, ours beside Docker's own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.verbs import Program

pytestmark = [pytest.mark.usefixtures("made"), pytest.mark.once]

OPTIONS = [
    *("--label", "a=b", "-v", "jc-forms:/v", "-v", "/etc:/e:ro", "--mount", "type=tmpfs,dst=/t"),
    *("--cap-add", "SYS_ADMIN", "--cap-drop", "CHOWN", "--ulimit", "nofile=64:128", "--device", "/dev/null:/dev/x"),
    *("--read-only", "--init", "--group-add", "5", "--restart", "on-failure:3", "-u", "1:2", "--shm-size", "1m"),
    *("-w", "/srv", "-e", "A=1", "--health-cmd", "true", "--stop-timeout", "1", "--hostname", "hh"),
    *("--tmpfs", "/tt:size=1m", "--domainname", "dd", "--expose", "82", "--entrypoint", "sleep"),
    *("--security-opt", "no-new-privileges", "--oom-score-adj", "5"),
]


@pytest.fixture
def made(program: Program) -> Iterator[None]:
    """A container with many options, and a volume and a network of a name."""
    program.good("volume", "create", "--label", "x=y", "jc-forms")
    program.good("create", "--network", "none", "--name", "full", *OPTIONS, program.image, "1000")
    yield
    program("rm", "-f", "-v", "full")
    program("volume", "rm", "jc-forms")


def one(program: Program, *words: str) -> str:
    return "\n".join(program.good(*words))


def test_inspect_has_the_fields_that_scripts_name(program: Program) -> None:
    expected: dict[str, Any] = {
        ".Name": "/full",
        ".Path .Args": "sleep [1000]",
        ".State.Status .State.ExitCode .RestartCount": "created 0 0",
        ".Config.Entrypoint .Config.Cmd .Config.WorkingDir .Config.User": "[sleep] [1000] /srv 1:2",
        ".Config.Hostname .Config.Domainname .Config.Labels.a": "hh dd b",
        ".Config.ExposedPorts .Config.StopTimeout": "map[82/tcp:{}] 1",
        ".Config.Tty .Config.OpenStdin .Config.Image": f"false false {program.image}",
        ".HostConfig.CapAdd .HostConfig.CapDrop": None,
        ".HostConfig.ReadonlyRootfs .HostConfig.Privileged .HostConfig.AutoRemove": "true false false",
        ".HostConfig.GroupAdd .HostConfig.SecurityOpt": "[5] [no-new-privileges]",
        ".HostConfig.RestartPolicy.Name .HostConfig.RestartPolicy.MaximumRetryCount": "on-failure 3",
        ".HostConfig.ShmSize .HostConfig.OomScoreAdj .HostConfig.Tmpfs": "1048576 5 map[/tt:size=1m]",
        ".HostConfig.Memory .HostConfig.NanoCpus .HostConfig.CpuShares .HostConfig.CpusetCpus": "0 0 0 ",
        ".HostConfig.NetworkMode .HostConfig.PortBindings .HostConfig.PidMode": "none map[] ",
        ".HostConfig.Dns": "[]",
        ".HostConfig.ExtraHosts .HostConfig.VolumesFrom": "[] []",
        ".NetworkSettings.IPAddress .NetworkSettings.Gateway .NetworkSettings.Ports": "  map[]",
        ".Platform .GraphDriver.Data": None,
    }
    for names, text in expected.items():
        template = " ".join(f"{{{{{name}}}}}" for name in names.split())
        found = one(program, "inspect", "-f", template, "full")
        assert text is None or found == text, names
    binds = json.loads(one(program, "inspect", "-f", "{{json .HostConfig.Binds}}", "full"))
    assert sorted(binds) == ["/etc:/e:ro", "jc-forms:/v"]  # Docker keeps them in any order
    json_of = "{{json .HostConfig.Devices}} {{json .HostConfig.Ulimits}} {{json .HostConfig.Mounts}}"
    devices, ulimits, asked = (json.loads(text) for text in one(program, "inspect", "-f", json_of, "full").split())
    assert devices == [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "rwm"}]
    assert ulimits == [{"Name": "nofile", "Hard": 128, "Soft": 64}]
    assert asked == [{"Type": "tmpfs", "Target": "/t"}]
    mounted = "{{range .Mounts}}{{.Type}} {{.Destination}} {{.RW}}{{println}}{{end}}"
    assert {"volume /v true", "bind /e false"} < set(program.good("inspect", "-f", mounted, "full"))


def test_nothing_is_shown_as_go_shows_it(program: Program) -> None:
    template = "{{.Config.Entrypoint}} {{json .Config.Entrypoint}} {{.HostConfig.Binds}} {{len .HostConfig.CapAdd}} "
    template += "{{if .State.Health}}checked{{else}}not checked{{end}} {{range .Mounts}}no{{else}}none{{end}}"
    assert one(program, "inspect", "-f", template, "web") == "[] null [] 0 not checked none"
    assert one(program, "inspect", "-f", "{{.Config.Labels.a}} {{.Config.Labels.nosuch}}", "full") == "b <no value>"
    template = "{{.Config.Entrypoint}} {{.Config.Volumes}} {{.Config.ExposedPorts}} {{.Author}}|{{.Os}}"
    assert one(program, "image", "inspect", "-f", template, program.image) == "[] map[] map[] |linux"


def test_a_document_has_all_names_that_dockers_has(program: Program) -> None:
    """Of ``docker inspect`` of version 20.10."""
    (found,) = json.loads(program("inspect", "full").out)
    assert {"Id", "Created", "Path", "Args", "State", "Image", "LogPath", "Name", "RestartCount", "Driver"} <= set(
        found
    )
    assert {"Platform", "HostConfig", "GraphDriver", "Mounts", "Config", "NetworkSettings", "ExecIDs"} <= set(found)
    host = "Binds ContainerIDFile LogConfig NetworkMode PortBindings RestartPolicy AutoRemove VolumeDriver VolumesFrom "
    host += "CapAdd CapDrop CgroupnsMode Dns DnsOptions DnsSearch ExtraHosts GroupAdd IpcMode Cgroup Links OomScoreAdj "
    host += "PidMode Privileged PublishAllPorts ReadonlyRootfs SecurityOpt UTSMode UsernsMode ShmSize Runtime "
    host += "ConsoleSize Isolation CpuShares Memory NanoCpus CgroupParent BlkioWeight BlkioWeightDevice "
    host += "BlkioDeviceReadBps BlkioDeviceWriteBps BlkioDeviceReadIOps BlkioDeviceWriteIOps CpuPeriod CpuQuota "
    host += "CpuRealtimePeriod CpuRealtimeRuntime CpusetCpus CpusetMems Devices DeviceCgroupRules DeviceRequests "
    host += "MemoryReservation MemorySwap MemorySwappiness OomKillDisable PidsLimit Ulimits MaskedPaths ReadonlyPaths"
    assert set(host.split()) - set(found["HostConfig"]) == set()
    network = "Ports Networks IPAddress IPPrefixLen Gateway MacAddress GlobalIPv6Address IPv6Gateway EndpointID"
    assert set(network.split()) - set(found["NetworkSettings"]) == set()
    (image,) = json.loads(program("image", "inspect", program.image).out)
    names = "Id RepoTags RepoDigests Parent Comment Created Author Config Architecture Os Size VirtualSize RootFS"
    assert set(names.split()) - set(image) == set()


@pytest.mark.parametrize(
    "words", [["inspect"], ["container", "inspect"], ["volume", "inspect"], ["network", "inspect"]]
)
def test_inspect_of_what_is_not_there_shows_the_others(program: Program, words: list[str]) -> None:
    known = {"volume": "jc-forms", "network": "none"}.get(words[0], "full")
    answer = program(*words, "jc-missing", known, "-f", "{{.Name}}")
    assert (answer.status, answer.lines) == (1, [f"/{known}" if known == "full" else known])
    assert "jc-missing" in answer.err
    empty = program(*words, "jc-missing")
    assert (empty.status, json.loads(empty.out)) == (1, [])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ps", "-a", "--format", "{{.Names}} {{.State}} {{.Networks}} {{.LocalVolumes}}"], "full created none 1"),
        (["ps", "-a", "--format", '{{.Names}} {{.Label "a"}}'], "full b"),
        (["volume", "ls", "--format", '{{.Name}} {{.Driver}} {{.Scope}} {{.Label "x"}}'], "jc-forms local local y"),
        (["volume", "ls", "-q", "--filter", "name=jc-f"], "jc-forms"),
        (["volume", "ls", "--filter", "label=x=y", "--format", "table {{.Name}}\t{{.Driver}}"], "VOLUME NAME   DRIVER"),
        (["network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Internal}}"], "host host false"),
        (["network", "ls", "--filter", "type=builtin", "--format", "{{.Name}}"], "none"),
        (["system", "df", "--format", "{{.Type}}"], "Local Volumes"),
        (["images", "--format", "{{.Containers}} {{.SharedSize}} {{.UniqueSize}}"], "N/A N/A N/A"),
        (["version", "--format", "{{.Server.Os}}"], "linux"),
        (["info", "--format", "{{.OSType}}"], "linux"),
        (["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "web"], "web 1"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_a_listing_takes_a_template(program: Program, words: list[str], expected: str) -> None:
    assert expected in program.good(*words)


@pytest.mark.parametrize("words", [["ps", "-a"], ["volume", "ls"], ["network", "ls"], ["images"], ["system", "df"]])
def test_every_row_can_be_had_as_json(program: Program, words: list[str]) -> None:
    rows = [json.loads(line) for line in program.good(*words, "--format", "{{json .}}")]
    assert rows
    assert all(isinstance(value, str) for row in rows for value in row.values() if "function" not in str(value))
    assert not any("function" in str(value) or name == "Label" for row in rows for name, value in row.items())


@pytest.mark.parametrize("words", [["ps"], ["images"], ["volume", "ls"], ["network", "ls"]])
def test_a_filter_there_is_not_has_status_1(program: Program, words: list[str]) -> None:
    answer = program(*words, "--filter", "nosuch=1")
    assert answer.status == 1
    assert "nosuch" in answer.err


def test_rm_with_force_forgives_what_is_not_there(program: Program) -> None:
    answer = program("rm", "-f", "jc-missing")
    assert (answer.status, answer.lines) == (0, [])
    assert "jc-missing" in answer.err
    assert program("rm", "jc-missing").status == 1
    assert program("rm", "-f", "jc-missing", "full").lines == ["full"]
