"""Every option of the engine's run is an option of the command line, and means the same there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jupyter_containers.commands.context import Context
from jupyter_containers.commands.parser import parse
from jupyter_containers.commands.run_options import RUN_OPTIONS, run_keywords
from jupyter_containers.commands.table import find
from jupyter_containers.engine.options import RunOptions
from jupyter_containers.errors import Unsupported
from tests.support.fake_engine import FakeEngine

if TYPE_CHECKING:
    from pathlib import Path

_OTHERWISE = {"rm": "remove"}


def field(name: str) -> str:
    return _OTHERWISE.get(name, name.replace("-", "_"))


def options_of(line: str) -> RunOptions:
    command, rest = find(line.split(), program="p")
    context = Context(FakeEngine)  # type: ignore[arg-type]  # a stand-in
    options = RunOptions.of(run_keywords(context, parse(command, rest, program="p")))
    options.check()
    return options


def test_the_command_line_and_the_engine_have_the_same_options() -> None:
    fields = set(RunOptions.__struct_fields__)
    named = {field(option.long) for option in RUN_OPTIONS}
    assert fields - named == set()


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("--pid host", "pid", "host"),
        ("--ipc=container:web", "ipc", "container:web"),
        ("--uts host", "uts", "host"),
        ("--userns remap:ann", "userns", "remap:ann"),
        ("--cgroupns private", "cgroupns", "private"),
        ("--device /dev/null:/dev/x:r --device /dev/zero", "device", ("/dev/null:/dev/x:r", "/dev/zero")),
        ("--sysctl net.ipv4.ip_forward=1", "sysctl", ("net.ipv4.ip_forward=1",)),
        ("--memory-reservation 32m", "memory_reservation", 32 << 20),
        ("--memory-swappiness 5", "memory_swappiness", 5),
        ("--oom-kill-disable", "oom_kill_disable", True),
        ("--oom-score-adj=-5", "oom_score_adj", -5),
        ("--cpu-period 50000 --cpu-quota 20000", "cpu_quota", 20000),
        ("--cpu-rt-runtime 5", "cpu_rt_runtime", 5),
        ("--cpuset-cpus 0-1", "cpuset_cpus", "0-1"),
        ("--blkio-weight 300", "blkio_weight", 300),
        ("--device-read-bps /dev/sda:1m", "device_read_bps", ("/dev/sda:1m",)),
        ("--group-add 5 --group-add tty", "group_add", ("5", "tty")),
        ("--domainname x.org", "domainname", "x.org"),
        ("--annotation a=b", "annotation", ("a=b",)),
        ("--limits drop", "limits", "drop"),
    ],
)
def test_what_it_hands_to_the_engine(line: str, name: str, value: object) -> None:
    for verb in ("run", "create"):
        assert getattr(options_of(f"{verb} {line} alpine"), name) == value


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--gpus all", "--gpus is not supported"),
        ("--storage-opt size=1g", "storage option 'size=1g' is not supported"),
        ("--cgroup-parent /x/../y", "not a cgroup: '/x/../y'"),
        ("--oom-score-adj 1001", "range for oom score adj is"),
        ("--sysctl x", "invalid sysctl 'x'"),
        ("--annotation =x", "invalid annotation '=x'"),
    ],
)
def test_what_it_refuses_by_name(line: str, words: str) -> None:
    from jupyter_containers.errors import EngineError

    with pytest.raises(EngineError, match=words):
        options_of(f"run {line} alpine")


DOCKERS = """
add-host annotation attach blkio-weight blkio-weight-device cap-add cap-drop cgroup-parent cgroupns cidfile cpu-count
cpu-percent cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-shares cpus cpuset-cpus cpuset-mems detach detach-keys
device device-cgroup-rule device-read-bps device-read-iops device-write-bps device-write-iops disable-content-trust dns
dns-option dns-search domainname entrypoint env env-file expose gpus group-add health-cmd health-interval health-retries
health-start-interval health-start-period health-timeout hostname init interactive io-maxbandwidth io-maxiops ip ip6 ipc
isolation kernel-memory label label-file link link-local-ip log-driver log-opt mac-address memory memory-reservation
memory-swap memory-swappiness mount name network network-alias no-healthcheck oom-kill-disable oom-score-adj pid
pids-limit platform privileged publish publish-all pull quiet read-only restart rm runtime security-opt shm-size
sig-proxy stop-signal stop-timeout storage-opt sysctl tmpfs tty ulimit use-api-socket user userns uts volume
volume-driver volumes-from workdir
""".split()  # noqa: SIM905 - a word list reads best as prose


def test_every_option_of_dockers_run_is_known() -> None:
    assert set(DOCKERS) - {option.long for option in RUN_OPTIONS} == set()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--cpu-count 1", "use --cpus"),
        ("--cpu-percent 1", "use --cpus"),
        ("--io-maxbandwidth 1m", "--device-read-bps"),
        ("--io-maxiops 1", "--device-read-iops"),
        ("--link-local-ip 169.254.1.1", "--ip"),
        ("--use-api-socket", "no daemon"),
        ("--isolation hyperv", "Windows"),
    ],
)
def test_what_cannot_be_had_is_refused_with_what_can(words: str, reason: str) -> None:
    with pytest.raises(Unsupported, match=words.split(maxsplit=1)[0]) as caught:
        options_of(f"run {words} alpine")
    assert reason in (caught.value.hint or "")


def test_labels_from_files_come_before_those_that_are_given(tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("# comment\na=1\nb\n")
    assert options_of(f"run --label-file {tmp_path}/labels -l a=2 alpine").label == ("a=1", "b", "a=2")
    assert options_of("run -q --isolation default --disable-content-trust alpine") == options_of("run alpine")
