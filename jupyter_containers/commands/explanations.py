"""What each verb does and touches, and which command of Docker's does the same: for ``--explain``.

Where Docker has the verb, its command is made from the words that were given; options that only we have are left out
of it and named. ``tests/unit/commands/test_explaining.py`` sees to it that every verb of the table is here.
"""

from __future__ import annotations

from typing import Final

from jupyter_containers.records import dataclass

STORE: Final = "the store"


@dataclass(frozen=True, slots=True)
class About:
    """A verb.

    Attributes
    ----------
    does
        What it does, one sentence.
    touches
        The files, rows and processes it reads and changes.
    docker
        The verb of Docker's; None: the same name; empty: there is none.
    instead
        Where Docker has none: what comes near.
    differs
        What is different here though the words are the same.
    """

    does: str
    touches: str
    docker: str | None = None
    instead: str = ""
    differs: tuple[str, ...] = ()


_ASKS = "it needs --force and asks nothing, for a notebook cell cannot be asked"
_ROW = "the container's row in state.sqlite"

VERBS: Final[dict[str, About]] = {
    "run": About(
        "The image is found or pulled, its layers unpacked once, a writable directory put above them, and a process"
        " made that becomes the program.",
        f"{_ROW}, containers/<id>/, its cgroups, one monitor process, the network's addresses",
        differs=("without -d the container ends with this process; Docker's goes on",),
    ),
    "create": About(
        "Everything is decided and refused that can be, and the container is entered in the store; no process is made.",
        f"{_ROW}; volumes that have to be made",
    ),
    "start": About(
        "The container's root is mounted again with what it wrote, and its program started.",
        f"{_ROW}, containers/<id>/, its cgroups, one monitor process",
    ),
    "restart": About(
        "Its first process gets a signal, then SIGKILL when it does not end; then it is started again.",
        f"its processes and monitor, {_ROW}",
    ),
    "exec": About(
        "The monitor makes a process that joins the container's namespaces and cgroups, gives up the same privileges,"
        " and becomes the command.",
        "the monitor's socket in the run directory; the container's namespaces and cgroups",
    ),
    "logs": About("The log file of the container is read.", "containers/<id>/log.json"),
    "attach": About(
        "The monitor hands copies of the container's output to this process, and takes its input.",
        "the monitor's socket in the run directory",
    ),
    "stop": About(
        "The stop signal is sent by the monitor; after the grace period SIGKILL.",
        "the container's first process; the exit record in containers/<id>/",
    ),
    "kill": About("The monitor sends a signal to the first process.", "the container's first process"),
    "pause": About(
        "The freezer of its cgroup stops all its processes at once.",
        "freezer.state or cgroup.freeze of its cgroup; without one SIGSTOP to its processes",
    ),
    "unpause": About("The freezer lets its processes go on.", "freezer.state or cgroup.freeze of its cgroup"),
    "wait": About("This process waits until the monitor says how the container ended.", "the monitor's socket"),
    "rename": About("The name in its row is changed, if nobody has it.", _ROW),
    "update": About(
        "Limits are written to the cgroup's files; what cannot be changed while it runs takes a restart.",
        f"its cgroup's files, {_ROW}, its monitor",
    ),
    "rm": About(
        "Its directories are removed, then its row: a crash between the two leaves something the next command removes.",
        f"containers/<id>/, {_ROW}, anonymous volumes with -v",
    ),
    "top": About("procfs is read for each of its processes.", "/proc"),
    "ps": About("The rows are read, and for each the monitor's record.", "state.sqlite, containers/*/monitor.json"),
    "port": About("The published ports are read from its row.", _ROW),
    "container inspect": About("Its row and its monitor's record are read.", f"{_ROW}, containers/<id>/"),
    "cp": About(
        "A process enters the container's file tree, below its root, and sends or takes a tar stream.",
        "the container's files; the paths on the host that were named",
    ),
    "export": About("A process reads the container's file tree as a tar stream.", "the container's files"),
    "diff": About("The writable directory is compared with the layers below it.", "containers/<id>/upper"),
    "commit": About(
        "The writable directory is written as a layer, and an image made of it and those below.",
        "containers/<id>/upper, content/, state.sqlite",
    ),
    "import": About("A tar archive becomes the one layer of a new image.", "content/, state.sqlite"),
    "stats": About(
        "The counters of its cgroup are read twice; without one procfs for each process.", "its cgroup's files, /proc"
    ),
    "xray": About(
        "procfs and the cgroup's files are read from outside.",
        "/proc/<pid> of its processes, its cgroup's files",
        docker="",
        instead="docker inspect and docker top show a part of it",
    ),
    "container prune": About(
        "The containers that do not run are removed.", "containers/*, state.sqlite", differs=(_ASKS,)
    ),
    "image prune": About(
        "Images without a name that nothing uses are removed.", STORE, differs=(_ASKS + " with --all",)
    ),
    "system prune": About("What nothing needs is removed, kind by kind.", STORE, differs=(_ASKS,)),
    "container move": About(
        "It is stopped, or with --live stands still while CRIU takes its processes' state; its writable directory, "
        "volumes, log and row are sent, then taken away here.",
        "containers/<id>/, volumes, the other store or machine (ssh)",
        docker="",
        instead="docker commit, save, load and run come near; volumes go by hand; docker checkpoint is experimental",
    ),
    "container receive": About("The other end of container move.", STORE, docker=""),
    "pull": About(
        "The manifest is fetched and checked, then each blob that is not here, by its digest.",
        "the registry; content/, state.sqlite",
    ),
    "push": About(
        "Each layer that the registry does not have is compressed and brought there, then configuration and manifest.",
        "content/; the registry",
        differs=("the digest of the manifest is that of the compressed layers: here they are plain",),
    ),
    "images": About("The rows of images are read.", "state.sqlite, content/"),
    "history": About("The image's configuration is read.", "content/"),
    "layers": About(
        "The image's manifest and configuration are read side by side.",
        "content/, layers/",
        docker="",
        instead="docker history and docker inspect show the halves of it",
    ),
    "rmi": About("The name is taken away; with the last one the blobs and layers nothing else has.", STORE),
    "tag": About("One more row gives the image a name.", "state.sqlite"),
    "image inspect": About("The image's manifest and configuration are read.", "content/, state.sqlite"),
    "network create": About(
        "A subnet that is free is chosen and the network entered; its bridge is made when a container needs it.",
        "state.sqlite",
    ),
    "network ls": About("The rows of networks are read.", "state.sqlite"),
    "network inspect": About("The row of a network is read, and who is in it.", "state.sqlite"),
    "network graph": About(
        "The kernel is asked for bridges, pairs, addresses and rules, the network agent for the ports it carries.",
        "rtnetlink and nftables where the bridges are, /proc of the containers; nothing is changed",
        docker="",
        instead="network inspect, with ip(8) and nft(8) on the host",
    ),
    "network rm": About("Its row is removed, and the bridge and rules if they are there.", "state.sqlite, the bridge"),
    "network prune": About("The networks nobody is in are removed.", "state.sqlite, bridges"),
    "network connect": About(
        "An address is chosen; a running container gets a veth pair, one end on the bridge, one in its namespace.",
        "state.sqlite, the bridge, the container's network namespace",
    ),
    "network disconnect": About(
        "The container's interface is taken away, and its address is free.",
        "state.sqlite, the container's network namespace",
    ),
    "volume create": About("A directory is made and entered.", "volumes/<id>/data, state.sqlite"),
    "volume ls": About("The rows of volumes are read.", "state.sqlite"),
    "volume inspect": About("The row of a volume is read.", "state.sqlite"),
    "volume rm": About("Its row and its directory are removed, unless a container uses it.", "volumes/<id>/"),
    "volume prune": About(
        "The anonymous volumes nobody uses are removed.", "volumes/*, state.sqlite", differs=(_ASKS + " with --all",)
    ),
    "volume rename": About(
        "The name in its row is changed.", "state.sqlite", docker="", instead="a new volume, and cp"
    ),
    "volume clone": About(
        "Its files are copied to a new volume.", "volumes/", docker="", instead="a container with both"
    ),
    "volume snapshot": About(
        "Containers that write to it are frozen while its files are copied to another volume.",
        "volumes/, cgroups of its containers",
        docker="",
    ),
    "volume diff": About("Two volumes are compared file by file.", "volumes/", docker=""),
    "volume export": About(
        "Its files are written as a tar archive.", "volumes/", docker="", instead="docker run -v … tar"
    ),
    "volume import": About("A tar archive becomes its content, all or nothing.", "volumes/", docker=""),
    "build": About(
        "The Dockerfile becomes a graph of steps; those whose key is known are taken from the cache, the others made.",
        "the context; content/, layers/, build-cache.sqlite; a container for each RUN",
        differs=(
            "RUN uses the host's network",
            "all times in the image are one fixed time, so that the same input gives the same digest",
        ),
    ),
    "builder history": About("The records of builds are read.", "build-cache.sqlite", docker="buildx history ls"),
    "builder steps": About(
        "The record of one build is read.", "build-cache.sqlite", docker="", instead="docker buildx history logs"
    ),
    "builder debug": About(
        "What a step left becomes the root of a container that is removed at its end.",
        "layers/, containers/<id>/",
        docker="",
        instead="docker buildx debug build",
    ),
    "cache ls": About(
        "The directories of cache mounts are listed.", "cache-mounts/", docker="", instead="docker buildx du"
    ),
    "cache rm": About("A cache mount is removed.", "cache-mounts/", docker="", instead="docker buildx prune --filter"),
    "cache export": About("A cache mount is written as a tar archive.", "cache-mounts/", docker=""),
    "cache import": About("A tar archive becomes a cache mount.", "cache-mounts/", docker=""),
    "builder du": About("What builds keep is measured.", "build-cache.sqlite, cache-mounts/", docker="buildx du"),
    "builder prune": About("Steps not used for longest are forgotten, and their layers removed.", STORE),
    "inspect": About("Rows, records and configurations are read.", "state.sqlite, containers/, content/"),
    "doctor": About(
        "Each thing a container needs is tried in a child process.",
        "nothing that stays",
        docker="",
        instead="docker info shows what its daemon found",
    ),
    "info": About("What the store has is counted.", "state.sqlite"),
    "version": About("The version is shown.", "nothing"),
    "system df": About("The store is measured.", "the store's directories"),
    "events": About("The journal of the store is read.", "events.jsonl"),
}

OWN: Final = {
    "limits": "what this host cannot enforce is left out",
    "timestamps": "which times files get",
    "verify": "the image is built twice and compared",
    "debug": "a shell where a step failed",
    "step": "a start one stage at a time",
    "interval": "the time between two samples",
    "count": "how many samples",
    "condition": "what is waited for (Docker has it in its API only)",
    "time": "seconds of grace",
    **dict.fromkeys(("env-add", "env-rm", "label-add", "label-rm", "mount-add", "mount-rm"), "by a restart"),
    **dict.fromkeys(("publish-add", "publish-rm"), "published ports of a container that exists"),
}
"""Options that Docker's verb of the same name does not have, and what they are about."""
_NOT_OWN: Final = {"stop", "restart"}
"""Verbs whose ``--time`` Docker has too."""


def is_own(verb: str, option: str) -> bool:
    """Whether only our verb has an option."""
    return option in OWN and not (option == "time" and verb in _NOT_OWN)
