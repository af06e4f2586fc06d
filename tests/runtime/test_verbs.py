"""Verb by verb what Docker does, as tables of steps: exit status and output; ours beside Docker's own.

What differs on purpose is in docs/guide/differences.md, and is not in these tables.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, TypeAlias

import pytest

from jupyter_containers.engine import Engine
from tests.support.verbs import OURS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.verbs import Program

# The words (IMAGE is the program's image), the exit status, and the lines on standard output; None: any.
Step: TypeAlias = "tuple[str, int, Sequence[str] | None]"

LIFE: list[Step] = [
    ("create --name job --network none IMAGE sh -c 'echo out; exit 3'", 0, None),
    ("ps -a --filter name=job --format {{.State}}", 0, ["created"]),
    ("ps -q --filter name=job", 0, []),
    ("stop job", 0, ["job"]),
    ("kill job", 1, []),
    ("pause job", 1, []),
    ("unpause job", 1, []),
    ("top job", 1, []),
    ("attach job", 1, []),
    ("exec job true", 1, []),
    ("start -a job", 3, ["out"]),
    ("wait job", 0, ["3"]),
    ("inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.Running}}' job", 0, ["exited 3 false"]),
    ("logs job", 0, ["out"]),
    ("start job", 0, ["job"]),
    ("wait job", 0, ["3"]),
    ("logs job", 0, ["out", "out"]),
    ("logs --tail 1 job", 0, ["out"]),
    ("logs --tail 0 job", 0, []),
    ("logs --since 1h --until 0s job", 0, None),
    ("logs --since nonsense job", 1, []),
    ("restart -t 0 job", 0, ["job"]),
    ("wait job", 0, ["3"]),
    ("rename job work", 0, []),
    ("rename work work", 1, []),
    ("rename work w/x", 1, []),
    ("rename work web", 1, []),
    ("inspect -f '{{.Name}}' work", 0, ["/work"]),
    ("rm work work-2", 1, ["work"]),
]
RUNNING: list[Step] = [
    ("start web", 0, ["web"]),
    ("exec web sh -c 'echo here; exit 5'", 5, ["here"]),
    ("exec -e A=1 web sh -c 'echo $A'", 0, ["1"]),
    ("exec -w /etc web pwd", 0, ["/etc"]),
    ("exec -w /no-such-place web pwd", 126, None),
    ("exec web test -e /no-such-place", 1, []),
    ("exec -d web touch /made", 0, []),
    ("exec -u no-such-user web true", 126, None),
    ("exec web /etc", 126, None),
    ("pause web", 0, ["web"]),
    ("pause web", 1, []),
    ("exec web true", 1, []),
    ("ps --filter status=paused --format {{.Names}}", 0, ["web"]),
    ("rm web", 1, []),
    ("unpause web", 0, ["web"]),
    ("unpause web", 1, []),
    ("port web", 0, []),
    ("port web 80", 1, []),
    ("kill -s NOSUCH web", 1, []),
    ("kill -s CONT web", 0, ["web"]),
    ("update --restart on-failure:4 web", 0, ["web"]),
    ("update --restart nonsense web", 1, []),
    ("inspect -f '{{.HostConfig.RestartPolicy.Name}}' web", 0, ["on-failure"]),
    ("update --restart no web", 0, ["web"]),
    ("kill web", 0, ["web"]),
    ("wait web", 0, ["137"]),
    ("start web", 0, ["web"]),
    ("stop -t 0 web", 0, ["web"]),
    ("restart -t 0 web", 0, ["web"]),
    ("inspect -f '{{.State.Status}}' web", 0, ["running"]),
]
USERS: list[Step] = [
    ("exec -u 5:6 web id -u", 0, ["5"]),
    ("exec -u 5:6 web sh -c 'id -G'", 0, ["6"]),
    ("run --rm --network none -u 5 IMAGE id -u", 0, ["5"]),
]
NO_OTHER_USERS: list[Step] = [
    ("exec -u 5:6 web id -u", 126, []),
    ("exec -u 0:0 web id -u", 0, ["0"]),
    ("run --rm --network none -u 5 IMAGE id -u", 125, []),
]
FILES: list[Step] = [
    ("diff web", 0, []),
    ("exec web sh -c 'mkdir /d; echo text >/d/f; chmod 600 /etc/group'", 0, []),
    ("diff no-such", 1, []),
    ("commit -m why -a me -c 'ENV MADE=1' -c 'CMD [\"cat\", \"/d/f\"]' web jc-verbs:1", 0, None),
    ("image inspect -f '{{.Comment}} {{.Author}} {{.Config.Cmd}}' jc-verbs:1", 0, ["why me [cat /d/f]"]),
    ("run --rm --network none jc-verbs:1", 0, ["text"]),
    ("run --rm --network none jc-verbs:1 sh -c 'echo $MADE'", 0, ["1"]),
    ("commit -c 'RUN true' web jc-verbs:2", 1, []),
    ("commit no-such", 1, []),
    ("tag jc-verbs:1 jc-verbs:3", 0, []),
    ("tag no-such jc-verbs:4", 1, []),
    ("tag jc-verbs:1 BAD", 1, []),
    ("rmi jc-verbs:3", 0, ["Untagged: jc-verbs:3"]),
    ("rmi jc-verbs:3", 1, []),
    ("rmi -f jc-verbs:3", 0, []),
    ("rmi jc-verbs:1", 0, None),
    ("export no-such", 1, []),
    ("cp web:/no-such /tmp", 1, []),
    ("cp no-such:/etc /tmp", 1, []),
    ("cp /no-such-file web:/", 1, []),
    ("cp one two", 1, []),
]
VOLUMES: list[Step] = [
    ("volume create jc-verbs", 0, ["jc-verbs"]),
    ("volume create jc-verbs", 0, ["jc-verbs"]),
    ("volume create --opt nonsense=1 jc-verbs-2", 1, []),
    ("volume create x", 1, []),
    ("volume create --driver no-such jc-verbs-2", 1, []),
    ("volume create --label a=b --opt type=tmpfs --opt device=tmpfs --opt o=size=1m jc-memory", 0, ["jc-memory"]),
    ("volume inspect -f '{{.Options.o}} {{.Labels.a}}' jc-memory", 0, ["size=1m b"]),
    ("run --rm --network none -v jc-memory:/m IMAGE sh -c \"df -k /m | tail -n 1 | awk '{print $2}'\"", 0, ["1024"]),
    ("run --rm --network none -v jc-verbs:/v IMAGE sh -c 'echo kept >/v/f'", 0, []),
    ("run --rm --network none -v jc-verbs:/v:ro IMAGE sh -c 'cat /v/f; touch /v/g 2>/dev/null'", 1, ["kept"]),
    ("run --rm --network none -v jc-verbs:/v:nonsense IMAGE true", 125, []),
    ("create --name user --network none -v jc-verbs:/v IMAGE cat /v/f", 0, None),
    ("run --rm --network none --volumes-from user:ro IMAGE cat /v/f", 0, ["kept"]),
    ("run --rm --network none --volumes-from no-such IMAGE true", 125, []),
    ("volume rm jc-verbs", 1, []),
    ("volume ls -q --filter dangling=false", 0, ["jc-verbs"]),
    ("ps -a --filter volume=jc-verbs --format {{.Names}}", 0, ["user"]),
    ("rm user", 0, ["user"]),
    ("volume rm jc-verbs jc-memory", 0, ["jc-verbs", "jc-memory"]),
    ("volume rm jc-verbs", 1, []),
    ("volume rm -f jc-verbs", 0, ["jc-verbs"]),
]
NETWORKS: list[Step] = [
    (
        (
            "network create --subnet 10.77.0.0/24 --gateway 10.77.0.254 --ip-range 10.77.0.128/25 "
            "--aux-address other=10.77.0.128 --label a=b back"
        ),
        0,
        None,
    ),
    ("network create back", 1, []),
    ("network create --subnet 10.77.0.0/25 clash", 1, []),
    ("network create --subnet nonsense clash", 1, []),
    ("network create --gateway 10.1.1.1 clash", 1, []),
    ("network create host", 1, []),
    ("network inspect -f '{{(index .IPAM.Config 0).Gateway}} {{.Labels.a}} {{.Internal}}' back", 0, None),
    ("network ls --filter label=a=b --format {{.Name}}", 0, ["back"]),
    ("network ls --filter driver=host --format {{.Name}}", 0, ["host"]),
    ("run -d --name one --network back --network-alias first IMAGE sleep 1000", 0, None),
    ("exec one sh -c \"ip -4 addr show eth0 | awk '/inet/{print $2}'\"", 0, ["10.77.0.129/24"]),
    ("exec one sh -c \"ip route | awk '/default/{print $3}'\"", 0, ["10.77.0.254"]),
    ("run -d --name two --network back --ip 10.77.0.9 IMAGE sleep 1000", 0, None),
    ("inspect -f '{{(index .NetworkSettings.Networks \"back\").IPAddress}}' two", 0, ["10.77.0.9"]),
    ("run --rm --network back --ip 10.77.0.9 IMAGE true", 125, []),
    ("run --rm --network back --ip 10.78.0.9 IMAGE true", 125, []),
    ("exec two busybox ping -c 1 -W 5 -q first", 0, None),
    ("exec one busybox ping -c 1 -W 5 -q two", 0, None),
    ("network create --internal front", 0, None),
    ("network connect --alias second front two", 0, []),
    ("network connect front two", 1, []),
    ("network connect no-such two", 1, []),
    ("network connect front no-such", 1, []),
    ("network connect host two", 1, []),
    ("run --rm --network front IMAGE busybox ping -c 1 -W 5 -q second", 0, None),
    ("network rm front", 1, []),
    ("network disconnect front two", 0, []),
    ("network disconnect front two", 1, []),
    ("network rm front", 0, ["front"]),
    ("run --rm --network container:one IMAGE sh -c \"ip -4 addr show eth0 | awk '/inet/{print $2}'\"", 0, None),
    ("run --rm --network container:one -p 80:80 IMAGE true", 125, []),
    ("run --rm --network no-such IMAGE true", 125, []),
    ("run --rm --network none IMAGE sh -c 'ls /sys/class/net'", 0, ["lo"]),
    ("run --rm --network back --add-host here:1.2.3.4 IMAGE sh -c 'grep -c here /etc/hosts'", 0, ["1"]),
    ("run --rm --network none --dns 1.2.3.4 --dns-search example.org IMAGE true", 0, []),
    ("run --rm --dns nonsense IMAGE true", 125, []),
    ("run --rm --mac-address nonsense IMAGE true", 125, []),
    ("run --rm --mac-address 02:42:0a:00:00:77 IMAGE cat /sys/class/net/eth0/address", 0, ["02:42:0a:00:00:77"]),
    ("run -d --name shown -p 127.0.0.1:8099:80 --expose 81 IMAGE sleep 1000", 0, None),
    ("port shown", 0, ["80/tcp -> 127.0.0.1:8099"]),
    ("port shown 80", 0, ["127.0.0.1:8099"]),
    ("port shown 81", 1, []),
    ("run --rm -p 127.0.0.1:8099:80 IMAGE true", 125, None),
    ("rm -f one two shown", 0, ["one", "two", "shown"]),
    ("network prune -f", 0, ["Deleted Networks:", "back"]),
    ("network rm back", 1, []),
    ("network rm bridge", 1, []),
]


def mistake(program: Program, steps: Sequence[Step]) -> object:
    """Do the steps, one after the other, up to the first that does not do what is written there: that one."""
    for text, status, lines in steps:
        words = [word.replace("IMAGE", program.image) for word in shlex.split(text)]
        answer = program(*words)
        said = [line for line in answer.lines if line]
        if answer.status != status or (lines is not None and said != list(lines)):
            return text, answer
    return None


@pytest.mark.parametrize("steps", [LIFE, RUNNING, FILES, VOLUMES], ids=["life", "running", "files", "volumes"])
def test_verbs(program: Program, steps: Sequence[Step]) -> None:
    assert mistake(program, steps) is None


def test_verbs_with_users(program: Program) -> None:
    """Where an ordinary user has one id only, a container has one user, and every other is refused."""
    with Engine() as engine:
        one = program.who == OURS and engine.doctor().rung == "rootless-single-id"
    assert mistake(program, NO_OTHER_USERS if one else USERS) is None


@pytest.mark.root
def test_verbs_of_networks(wired: Program) -> None:
    try:
        assert mistake(wired, NETWORKS) is None
    finally:
        wired("rm", "-f", "one", "two", "shown")
