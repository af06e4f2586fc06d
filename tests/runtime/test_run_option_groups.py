"""Each group of options of ``run``, seen from inside: by our command line and, where dockerd runs, by Docker's."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from tests.support import verbs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.verbs import Program

NONE = ("--network", "none")

# options, what is run inside (each line prints one thing), what it prints
GROUPS = {
    "process": (
        "-u 1:2 -w /tmp/new --group-add 5 -e A=1 -e B= --hostname box --domainname example.org --init --umask-check",
        ["id -u", "id -g", "id -G", "pwd", "echo $A-$B-$HOSTNAME", "hostname", "cat /proc/sys/kernel/domainname"],
        ["1", "2", "2 5", "/tmp/new", "1--box", "box", "example.org"],
    ),
    "isolation": (
        (
            "--cap-drop ALL --cap-add CHOWN --security-opt no-new-privileges --read-only --oom-score-adj 300 "
            "--sysctl kernel.msgmax=8000 --tmpfs /scratch:size=1m,mode=700"
        ),
        [
            "grep CapEff /proc/self/status | cut -c 20-",
            "grep NoNewPrivs /proc/self/status | cut -f 2",
            "touch /x 2>&1 | cut -d : -f 3",
            "cat /proc/sys/kernel/msgmax",
            "stat -c %a /scratch",
            "grep -c ' /scratch tmpfs .*size=1024k' /proc/mounts",
            "cat /proc/self/oom_score_adj",
        ],
        ["00001", "1", " Read-only file system", "8000", "700", "1", "300"],
    ),
    "resources": (
        "--ulimit nofile=99:100 --shm-size 2m --pids-limit 50 -m 64m --memory-swap 64m --cpus 0.5 --cpuset-cpus 0",
        [
            "ulimit -n",
            "df -k /dev/shm | tail -n 1 | awk '{print $2}'",
            "grep Cpus_allowed_list /proc/self/status | cut -f 2",
        ],
        ["99", "2048", "0"],
    ),
    "storage": (
        (
            "-v jc-group:/data --mount type=tmpfs,target=/memory,tmpfs-mode=711 "
            "-v /anonymous --mount type=volume,src=jc-group,dst=/ro,ro"
        ),
        [
            "echo kept > /data/x && cat /data/x",
            "stat -c %a /memory",
            "test -d /anonymous && echo there",
            "touch /ro/x 2>&1 | cut -d : -f 3",
        ],
        ["kept", "711", "there", " Read-only file system"],
    ),
    "devices": (
        "--device /dev/null:/dev/nothing:rw --device /dev/zero:/dev/zeros:r",
        ["echo x > /dev/nothing && echo written", "head -c 2 /dev/zeros | wc -c"],
        ["written", "2"],
    ),
    "entrypoint": ("--entrypoint sh", [], []),
}


def test_each_group_of_options(program: Program, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# comment\nFROM_FILE=of the file\n")
    for group, (options, lines, expected) in GROUPS.items():
        if group == "resources" and os.geteuid() != 0:
            continue  # what becomes of limits without root is tested beside the other options
        words = options.replace("--umask-check", f"--env-file {tmp_path}/env").split()
        if group == "entrypoint":
            ran = program("run", "--rm", *NONE, *words, program.image, "-c", "echo through sh")
            assert ran.lines == ["through sh"], ran
            continue
        script = "\n".join(lines)
        ran = program("run", "--rm", *NONE, *words, program.image, "sh", "-c", script)
        if "single mapped id" in ran.err:
            continue  # this user's containers have one user and one group
        assert ran.lines == expected, (group, ran)
    program.good("volume", "rm", "jc-group")


def test_what_is_kept_of_the_options(program: Program, tmp_path: Path) -> None:
    """As ``inspect`` shows it."""
    words = ["--label", "a=1", "--stop-signal", "SIGUSR1", "--stop-timeout", "3", "--restart", "on-failure:2"]
    words += ["--health-cmd", "true", "--health-interval", "5m", "--cidfile", str(tmp_path / "id"), "--name", "kept"]
    words += ["--log-driver", "json-file", "--log-opt", "max-size=1m", "--annotation", "x=y", "--expose", "80"]
    if program.who == verbs.DOCKERD:
        del words[words.index("--annotation") : words.index("--annotation") + 2]  # newer than this Docker
    program.good("create", *NONE, *words, program.image, "true")
    try:
        (found,) = json.loads(program("inspect", "kept").out)
        config, host = found["Config"], found["HostConfig"]
        assert found["Id"] == (tmp_path / "id").read_text()
        assert config["Labels"]["a"] == "1"
        assert (config["StopSignal"], config["StopTimeout"]) == ("SIGUSR1", 3)
        assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
        assert config["Healthcheck"]["Interval"] == 300 * 10**9
        assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "1m"}}
        assert program("create", *NONE, "--cidfile", tmp_path / "id", program.image, "true").status != 0
    finally:
        program.good("rm", "kept")


def test_bad_input_is_one_error_and_leaves_nothing(program: Program, tmp_path: Path) -> None:
    """The name of the thing, Docker's exit status, no container and no volume."""
    for status, words, what in [
        (125, ["--pull", "never", "jc-missing:1", "true"], "jc-missing"),
        (126, [program.image, "/etc"], "/etc"),
        (127, [program.image, "no-such-program"], "no-such-program"),
        (125, ["-v", "relative/path:/x", program.image, "true"], "relative/path"),
        (125, ["--mount", f"type=bind,source={tmp_path}/none,target=/x", program.image, "true"], f"{tmp_path}/none"),
        (125, ["--mount", "type=odd,target=/x", program.image, "true"], "odd"),
        (125, ["-m", "1x", program.image, "true"], "1x"),
        (125, ["--cap-add", "NO_SUCH", program.image, "true"], "NO_SUCH"),
        (125, ["--network", "no-such", program.image, "true"], "no-such"),
        (125, ["--no-such-flag", program.image, "true"], "no-such-flag"),
        (125, ["--name", "web", program.image, "true"], "web"),
        (125, ["--name", "-x", program.image, "true"], "-x"),
        (125, ["-u", "no-such-user", program.image, "true"], "no-such-user"),
        (125, ["--security-opt", "odd", program.image, "true"], "odd"),
        (125, ["--env-file", f"{tmp_path}/none", program.image, "true"], f"{tmp_path}/none"),
    ]:
        network = [] if "--network" in words else NONE
        ran = program("run", "--rm", *network, *words)
        assert ran.status == status, (words, ran)
        assert what in ran.err, (words, ran)
        assert "Traceback" not in ran.err
        if program.who == verbs.OURS:
            assert len([line for line in ran.err.splitlines() if not line.startswith("hint:")]) == 1, ran.err
    assert sorted(program.good("ps", "-a", "--format", "{{.Names}}")) == ["still", "web"]
    assert program.good("volume", "ls", "-q") == []
