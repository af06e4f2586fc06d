"""The options of ``run`` and ``create``, and what the engine is told of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyter_containers.commands.env_file import read_entries
from jupyter_containers.commands.model import Option
from jupyter_containers.commands.network_options import NETWORK_OPTIONS
from jupyter_containers.errors import Unsupported

if TYPE_CHECKING:
    from jupyter_containers.commands.context import Context
    from jupyter_containers.commands.model import Arguments

DETACH_KEYS = Option("detach-keys", "Keys that detach from a terminal", None, "KEYS", default="ctrl-p,ctrl-q")
SIG_PROXY = Option("sig-proxy", "Hand signals on to the container, without a terminal", kind="bool", default="true")
ENVIRONMENT = (
    Option(
        "env",
        "Set an environment variable; a bare NAME takes the caller's value",
        "e",
        "NAME=VALUE",
        repeatable=True,
        completes="variable",
    ),
    Option("env-file", "Read environment variables from a file", None, "FILE", repeatable=True, completes="path"),
    Option("workdir", "Working directory in the container", "w", "DIR"),
    Option("user", "User name or uid, with or without group", "u", "USER[:GROUP]"),
)
RUN_OPTIONS = (
    Option("detach", "Run in the background and give its id", "d", kind="bool"),
    Option("rm", "Remove the container when it ends", kind="bool"),
    Option("name", "Name of the container", None, "NAME"),
    *ENVIRONMENT,
    Option(
        "volume",
        "Mount a volume or a directory of the host",
        "v",
        "[SOURCE:]TARGET[:ro]",
        repeatable=True,
        completes="source",
    ),
    Option(
        "mount",
        "Mount, in the long form: type=bind, volume, tmpfs or image",
        None,
        "type=TYPE,source=SOURCE,target=DIR[,readonly]",
        repeatable=True,
        completes="mount",
    ),
    Option("tmpfs", "Mount a file system in memory", None, "DIR[:OPTIONS]", repeatable=True),
    Option(
        "volumes-from",
        "Mount what another container mounts",
        None,
        "CONTAINER[:ro]",
        repeatable=True,
        completes="container",
    ),
    Option("volume-driver", "Driver of the volumes it makes: local", None, "NAME"),
    Option("hostname", "Host name of the container", "h", "NAME"),
    Option("entrypoint", "Replace the image's ENTRYPOINT; an empty text resets it", None, "COMMAND"),
    Option("interactive", "Keep standard input open", "i", kind="bool"),
    Option("tty", "Give it a terminal", "t", kind="bool"),
    Option("memory", "Memory limit", "m", "BYTES", kind="size"),
    Option("memory-swap", "Limit of memory and swap together, -1 for no limit", None, "BYTES", kind="size"),
    Option("cpus", "Number of CPUs", None, "NUMBER", kind="decimal"),
    Option("cpu-shares", "CPU weight relative to other containers", "c", "NUMBER", kind="integer"),
    Option("pids-limit", "Limit of processes, -1 for no limit", None, "NUMBER", kind="integer"),
    Option("shm-size", "Size of /dev/shm", None, "BYTES", kind="size"),
    Option("ulimit", "Resource limit of the processes", None, "NAME=SOFT[:HARD]", repeatable=True),
    Option("read-only", "Mount the root file system read-only", kind="bool"),
    *NETWORK_OPTIONS,
    Option("label", "Set a label", "l", "KEY=VALUE", repeatable=True),
    Option("cap-add", "Add a Linux capability", None, "NAME", repeatable=True),
    Option("cap-drop", "Drop a Linux capability, or ALL", None, "NAME", repeatable=True),
    Option("security-opt", "Security option, as no-new-privileges", None, "OPTION", repeatable=True),
    Option("privileged", "Give it all privileges of this user", kind="bool"),
    Option("init", "Run a small init that reaps zombies", kind="bool"),
    Option("runtime", "Have another OCI runtime make it, as crun or runc", None, "NAME"),
    Option("group-add", "One more group of the user", None, "GROUP", repeatable=True),
    Option("domainname", "NIS domain name of the container", None, "NAME"),
    Option("annotation", "Annotation of the runtime specification", None, "KEY=VALUE", repeatable=True),
    Option("pid", "Processes it sees: its own, host, or container:NAME", None, "MODE"),
    Option("ipc", "IPC namespace: private, shareable, none, host, or container:NAME", None, "MODE"),
    Option("uts", "Host name namespace: its own, or host", None, "MODE"),
    Option("userns", "User namespace: host, remap[:USER] (root), keep-id (others)", None, "MODE"),
    Option("cgroupns", "Cgroup namespace: private or host", None, "MODE"),
    Option("cgroup-parent", "Cgroup above the container's", None, "PATH"),
    Option("device", "Device of the host, or a directory of them", None, "SOURCE[:TARGET][:rwm]", repeatable=True),
    Option("device-cgroup-rule", "Device rule: 'c 1:3 rwm'", None, "RULE", repeatable=True),
    Option("sysctl", "Kernel parameter of its namespaces", None, "NAME=VALUE", repeatable=True),
    Option("memory-reservation", "Soft limit of memory", None, "BYTES", kind="size"),
    Option("memory-swappiness", "How readily memory is swapped out, 0 to 100", None, "NUMBER", kind="integer"),
    Option("kernel-memory", "Limit of kernel memory (no kernel of today has it)", None, "BYTES", kind="size"),
    Option("oom-kill-disable", "Do not kill it when memory runs out", kind="bool"),
    Option("oom-score-adj", "How soon it is killed, -1000 to 1000", None, "NUMBER", kind="integer"),
    Option("cpu-period", "Period of the CPU quota, in microseconds", None, "NUMBER", kind="integer"),
    Option("cpu-quota", "CPU time in each period, in microseconds", None, "NUMBER", kind="integer"),
    Option("cpu-rt-period", "Period of real-time scheduling, in microseconds", None, "NUMBER", kind="integer"),
    Option("cpu-rt-runtime", "Real-time CPU time in each period, in microseconds", None, "NUMBER", kind="integer"),
    Option("cpuset-cpus", "CPUs it may run on: 0-2 or 0,1", None, "LIST"),
    Option("cpuset-mems", "Memory nodes it may use: 0-2 or 0,1", None, "LIST"),
    Option("blkio-weight", "Weight for block devices, 10 to 1000", None, "NUMBER", kind="integer"),
    Option("blkio-weight-device", "The same for one device", None, "DEVICE:WEIGHT", repeatable=True),
    Option("device-read-bps", "Limit of reading from a device, per second", None, "DEVICE:BYTES", repeatable=True),
    Option("device-write-bps", "Limit of writing to a device, per second", None, "DEVICE:BYTES", repeatable=True),
    Option("device-read-iops", "Limit of reads from a device, per second", None, "DEVICE:NUMBER", repeatable=True),
    Option("device-write-iops", "Limit of writes to a device, per second", None, "DEVICE:NUMBER", repeatable=True),
    Option(
        "limits",
        "What becomes of limits this host cannot set",
        None,
        "WHAT",
        default="enforce",
        choices=("enforce", "drop"),
    ),
    Option("gpus", "Graphics devices (not supported)", None, "GPUS"),
    Option("storage-opt", "Option of the storage driver (not supported)", None, "OPTION", repeatable=True),
    Option("stop-signal", "Signal that stops the container", None, "SIGNAL"),
    Option("stop-timeout", "Seconds from that signal to SIGKILL", None, "SECONDS", kind="integer"),
    Option("pull", "When to pull the image", None, "WHEN", default="missing", choices=("always", "missing", "never")),
    Option("platform", "Platform, where the image has several", None, "OS/ARCH"),
    Option(
        "restart", "When it is started again by itself", None, "no|on-failure[:N]|always|unless-stopped", default="no"
    ),
    Option("log-driver", "How output is kept: json-file, local or none", None, "NAME", default="json-file"),
    Option("log-opt", "Option of the log driver, as max-size=10m", None, "KEY=VALUE", repeatable=True),
    Option("health-cmd", "Command that says whether it works, by exit status 0", None, "COMMAND"),
    Option("health-interval", "Time between two checks", None, "DURATION", default="30s"),
    Option("health-timeout", "Time after which a check has failed", None, "DURATION", default="30s"),
    Option("health-start-period", "Time to start in, in which failures do not count", None, "DURATION", default="0s"),
    Option("health-start-interval", "Time between two checks in the start period", None, "DURATION", default="5s"),
    Option("health-retries", "Failures in a row that make it unhealthy", None, "N", kind="integer", default="3"),
    Option(
        "health-on-failure",
        "What is done with it when it becomes unhealthy",
        None,
        "ACTION",
        default="none",
        choices=("none", "kill", "restart", "stop"),
    ),
    Option("no-healthcheck", "Leave out the image's health check", kind="bool"),
    Option("attach", "Show stdout or stderr only, or hand on stdin", "a", "STREAM", repeatable=True),
    DETACH_KEYS,
    SIG_PROXY,
    Option("cidfile", "Write the id of the container to a file", None, "FILE", completes="path"),
    Option("label-file", "Read labels from a file, one a line", None, "FILE", repeatable=True, completes="path"),
    Option("quiet", "Do not show how an image is pulled", "q", kind="bool"),
    Option("disable-content-trust", "Accepted for Docker's sake: no signatures are asked for", kind="bool"),
    Option("isolation", "Accepted for Docker's sake: default", None, "default"),
    Option("link-local-ip", "Link-local address (not supported)", None, "ADDRESS", repeatable=True),
    Option("use-api-socket", "Docker's socket in the container (not supported)", kind="bool"),
    Option("cpu-count", "Number of CPUs (Windows only)", None, "N", kind="integer"),
    Option("cpu-percent", "Share of the CPUs (Windows only)", None, "N", kind="integer"),
    Option("io-maxbandwidth", "Limit of the system drive (Windows only)", None, "BYTES"),
    Option("io-maxiops", "Limit of the system drive (Windows only)", None, "N", kind="integer"),
)
_WINDOWS = "it exists for Windows containers only"
_REFUSED = {
    "link-local-ip": "give the container an address of its network with --ip",
    "use-api-socket": "there is no daemon, and so no socket",
    "cpu-count": f"{_WINDOWS}: use --cpus",
    "cpu-percent": f"{_WINDOWS}: use --cpus",
    "io-maxbandwidth": f"{_WINDOWS}: use --device-read-bps and --device-write-bps",
    "io-maxiops": f"{_WINDOWS}: use --device-read-iops and --device-write-iops",
}
_RENAMED = {"rm": "remove"}
_READ_HERE = frozenset(
    {
        *("attach", "detach-keys", "sig-proxy", "env", "env-file", "label", "label-file"),
        *("quiet", "disable-content-trust", "isolation", "step"),
    }
)


def run_keywords(context: Context, arguments: Arguments) -> dict[str, Any]:
    """The keyword arguments of :meth:`Containers.run` for the options that were given.

    Raises
    ------
    Unsupported
        for an option that nothing here can stand for.
    """
    for name in arguments.options:
        if name in _REFUSED:
            raise Unsupported(f"--{name} is not supported", hint=_REFUSED[name])
    if arguments.text("isolation") not in {None, "", "default"}:
        raise Unsupported(f"--isolation {arguments.text('isolation')} is not supported", hint=_WINDOWS)
    keywords: dict[str, Any] = {
        _RENAMED.get(name, name.replace("-", "_")): value
        for name, value in arguments.options.items()
        if name not in _READ_HERE
    }
    keywords["env"] = read_environment(context, arguments)
    from_files = [entry for path in arguments.texts("label-file") for entry in read_entries(path, "label file")]
    keywords["label"] = [*from_files, *arguments.texts("label")]
    return {name: value for name, value in keywords.items() if value != []}


def read_environment(context: Context, arguments: Arguments) -> list[str]:
    """The entries of ``--env-file`` and ``--env``, in the order in which the later win."""
    from_files = [entry for path in arguments.texts("env-file") for entry in read_entries(path, "environment file")]
    return context.resolve_pairs((*from_files, *arguments.texts("env")))
