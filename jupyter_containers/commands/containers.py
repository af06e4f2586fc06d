"""The verbs on containers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from jupyter_containers.commands.model import Argument, Arguments, Command, Option
from jupyter_containers.commands.mounts import read_env_file, read_mount
from jupyter_containers.commands.results import ContainerListing, Documents, Lines, Log, Ran, Result, Started
from jupyter_containers.errors import EngineError, Unsupported, UsageError
from jupyter_containers.events import Output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jupyter_containers.commands.context import Context
    from jupyter_containers.engine.logs import LogEntry
    from jupyter_containers.engine.views import ContainerSummary

_CONTAINER = Argument("CONTAINER", completes="container")
_CONTAINERS = Argument("CONTAINER", maximum=None, completes="container")
_COMMAND = Argument("COMMAND", minimum=0, completes="any")
_ARGS = Argument("ARG", minimum=0, maximum=None)

_ENVIRONMENT = (
    Option(
        "env", "Set an environment variable; a bare NAME takes the caller's value", "e", "NAME=VALUE", repeatable=True
    ),
    Option("env-file", "Read environment variables from a file", None, "FILE", repeatable=True, completes="path"),
    Option("workdir", "Working directory in the container", "w", "DIR"),
    Option("user", "User name or uid, with or without group", "u", "USER[:GROUP]"),
)
_RUN_OPTIONS = (
    Option("detach", "Run in the background and give its id", "d", kind="bool"),
    Option("rm", "Remove the container when it ends", kind="bool"),
    Option("name", "Name of the container", None, "NAME"),
    *_ENVIRONMENT,
    Option("volume", "Mount a directory of the host", "v", "SOURCE:TARGET[:ro]", repeatable=True, completes="path"),
    Option("mount", "Mount, in the long form", None, "type=bind,source=DIR,target=DIR[,readonly]", repeatable=True),
    Option("tmpfs", "Mount a file system in memory", None, "DIR[:OPTIONS]", repeatable=True),
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
    Option("network", "Network to join: bridge, host or none", None, "NAME"),
    Option("add-host", "Add a line to /etc/hosts", None, "NAME:ADDRESS", repeatable=True),
    Option("dns", "Name server", None, "ADDRESS", repeatable=True),
    Option("label", "Set a label", "l", "KEY=VALUE", repeatable=True),
    Option("cap-add", "Add a Linux capability", None, "NAME", repeatable=True),
    Option("cap-drop", "Drop a Linux capability, or ALL", None, "NAME", repeatable=True),
    Option("security-opt", "Security option, as no-new-privileges", None, "OPTION", repeatable=True),
    Option("privileged", "Give it all privileges of this user", kind="bool"),
    Option("init", "Run a small init that reaps zombies", kind="bool"),
    Option("stop-signal", "Signal that stops the container", None, "SIGNAL"),
    Option("stop-timeout", "Seconds from that signal to SIGKILL", None, "SECONDS", kind="integer"),
    Option("pull", "When to pull the image", None, "WHEN", default="missing", choices=("always", "missing", "never")),
    Option("platform", "Platform, where the image has several", None, "OS/ARCH"),
    Option("cidfile", "Write the id of the container to a file", None, "FILE", completes="path"),
)
_RENAMED = {"rm": "remove"}
_READ_HERE = frozenset({"env", "env-file", "label", "volume", "mount", "tmpfs"})


def run_keywords(context: Context, arguments: Arguments) -> dict[str, Any]:
    """The keyword arguments of :meth:`Containers.run` for the options that were given."""
    keywords: dict[str, Any] = {
        _RENAMED.get(name, name.replace("-", "_")): value
        for name, value in arguments.options.items()
        if name not in _READ_HERE
    }
    keywords["env"] = _environment(context, arguments)
    keywords["label"] = list(arguments.texts("label"))
    volumes, tmpfs = list(arguments.texts("volume")), list(arguments.texts("tmpfs"))
    for text in arguments.texts("mount"):
        kind, value = read_mount(text)
        (tmpfs if kind == "tmpfs" else volumes).append(value)
    keywords |= {"volume": volumes, "tmpfs": tmpfs}
    return {name: value for name, value in keywords.items() if value != []}


def _environment(context: Context, arguments: Arguments) -> list[str]:
    from_files = [entry for path in arguments.texts("env-file") for entry in read_env_file(path)]
    return context.resolve_pairs((*from_files, *arguments.texts("env")))


def _run(context: Context, arguments: Arguments) -> Result:
    image, *command = arguments.positionals
    keywords = run_keywords(context, arguments)
    if context.script:
        keywords["interactive"] = True
        if not command and "entrypoint" not in keywords:
            # A cell without a command is a shell script, whatever the image would run.
            keywords["entrypoint"] = ""
            command = ["/bin/sh", "-s"]
    from jupyter_containers.engine import Container, RunOptions  # noqa: PLC0415 - the engine is slow to import

    outcome = context.engine().containers.run(
        image,
        command or None,
        options=RunOptions.of(keywords),
        stdin=context.stdin if keywords.get("interactive") else None,
        sink=context.sink,
    )
    return Started(outcome) if isinstance(outcome, Container) else Ran(outcome)


def _exec(context: Context, arguments: Arguments) -> Result:
    name, *command = arguments.positionals
    if arguments.flag("tty"):
        raise Unsupported("exec cannot have a terminal here yet", hint="leave -t out: -i alone hands the input on")
    if not command:
        if not context.script:
            raise UsageError("exec requires a command: exec [OPTIONS] CONTAINER COMMAND [ARG...]")
        command = ["/bin/sh", "-s"]
    result = context.engine().containers.exec(
        name,
        command,
        env=_environment(context, arguments),
        workdir=arguments.text("workdir"),
        user=arguments.text("user"),
        stdin=context.stdin if context.script or arguments.flag("interactive") else None,
        sink=context.sink,
        detach=arguments.flag("detach"),
    )
    return Lines(()) if result is None else Ran(result, "exec")


def _ps(context: Context, arguments: Arguments) -> Result:
    keep = matcher(arguments.texts("filter"), _container_filter)
    last = 1 if arguments.flag("latest") else arguments.integer("last")
    by_state = any(text.startswith(("status=", "exited=")) for text in arguments.texts("filter"))
    everything = arguments.flag("all") or last is not None or by_state
    rows = sorted(context.engine().containers.list(all=everything), key=lambda row: row.created, reverse=True)
    rows = [row for row in rows if keep(row)]
    if last is not None and last >= 0:
        rows = rows[:last]
    return ContainerListing(tuple(rows), arguments.flag("quiet"), arguments.flag("no-trunc"))


Row = TypeVar("Row")


def matcher(texts: Sequence[str], make: Callable[[str], Callable[[Row], bool]]) -> Callable[[Row], bool]:
    """Whether a row matches the filters: one of those with the same key, for every key, as with Docker."""
    keyed: dict[str, list[Callable[[Row], bool]]] = {}
    for text in texts:
        keyed.setdefault(text.partition("=")[0], []).append(make(text))
    return lambda row: all(any(test(row) for test in tests) for tests in keyed.values())


def _container_filter(text: str) -> Callable[[ContainerSummary], bool]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"invalid filter {text!r}", hint="write it as --filter status=exited")
    match key:
        case "id":
            return lambda row: row.id.startswith(value)
        case "name":
            return lambda row: value in row.name
        case "status":
            return lambda row: row.state == value
        case "exited":
            return lambda row: row.state == "exited" and str(row.exit_code) == value
        case "ancestor":
            return lambda row: row.image in {value, f"{value}:latest"}
        case "label":
            label, given, wanted = value.partition("=")
            return lambda row: label in row.labels and (not given or row.labels[label] == wanted)
        case _:
            raise UsageError(f"unknown filter {key!r}", hint="filters are id, name, status, exited, ancestor and label")


def _logs(context: Context, arguments: Arguments) -> Result:
    tail = arguments.text("tail")
    if tail is not None and tail != "all" and not tail.isdecimal():
        raise UsageError(f'invalid argument "{tail}" for "-n, --tail": it is neither a number nor all')
    lines = None if tail in {None, "all"} else int(tail or 0)
    containers = context.engine().containers
    entries = containers.logs(arguments.positionals[0], follow=arguments.flag("follow"), tail=lines)
    return Log(_log_output(entries, timestamps=arguments.flag("timestamps")))


def _log_output(entries: Iterator[LogEntry], *, timestamps: bool) -> Iterator[Output]:
    for entry in entries:
        stamp = f"{entry.time:%Y-%m-%dT%H:%M:%S.%fZ} ".encode() if timestamps else b""
        yield Output(entry.stream, stamp + entry.data)


def each(names: Sequence[str], act: Callable[[str], Sequence[str]]) -> Lines:
    """Do the same with every name; one that fails does not keep the others from it, as with Docker."""
    lines: list[str] = []
    errors: list[EngineError] = []
    for name in names:
        try:
            lines.extend(act(name))
        except EngineError as error:
            errors.append(error)
    return Lines(tuple(lines), tuple(errors))


def _stop(context: Context, arguments: Arguments) -> Result:
    containers = context.engine().containers
    time, signal = arguments.integer("time"), arguments.text("signal")

    def act(name: str) -> list[str]:
        containers.stop(name, time=time, signal=signal)
        return [name]

    return each(arguments.positionals, act)


def _kill(context: Context, arguments: Arguments) -> Result:
    containers = context.engine().containers

    def act(name: str) -> list[str]:
        containers.kill(name, signal=arguments.text("signal") or "SIGKILL")
        return [name]

    return each(arguments.positionals, act)


def _wait(context: Context, arguments: Arguments) -> Result:
    containers = context.engine().containers
    return each(arguments.positionals, lambda name: [str(containers.wait(name))])


def _rm(context: Context, arguments: Arguments) -> Result:
    containers = context.engine().containers

    def act(name: str) -> list[str]:
        containers.remove(name, force=arguments.flag("force"), volumes=arguments.flag("volumes"))
        return [name]

    return each(arguments.positionals, act)


def _inspect_container(context: Context, arguments: Arguments) -> Result:
    containers = context.engine().containers
    return Documents(tuple(containers.inspect(name) for name in arguments.positionals))


COMMANDS = (
    Command(
        ("run", "container run"),
        "container",
        "Create a container from an image and run a command in it",
        _run,
        _RUN_OPTIONS,
        (Argument("IMAGE", completes="image"), _COMMAND, _ARGS),
        interspersed=False,
        body="stdin",
        examples=("run --rm alpine echo hello", "run -d --name web -v ./site:/www:ro busybox httpd -f -h /www"),
    ),
    Command(
        ("exec", "container exec"),
        "container",
        "Run a command in a running container",
        _exec,
        (
            Option("detach", "Run in the background", "d", kind="bool"),
            *_ENVIRONMENT,
            Option("interactive", "Keep standard input open", "i", kind="bool"),
            Option("tty", "Give it a terminal (not there yet)", "t", kind="bool"),
        ),
        (_CONTAINER, _COMMAND, _ARGS),
        interspersed=False,
        body="stdin",
        examples=("exec web ls -l /www",),
    ),
    Command(
        ("ps", "container ls", "container list", "container ps"),
        "container",
        "List containers",
        _ps,
        (
            Option("all", "Show all containers, not only the running ones", "a", kind="bool"),
            Option("filter", "Keep those that match", "f", "KEY=VALUE", repeatable=True),
            Option("last", "Show the N newest containers, whatever their state", "n", "N", kind="integer"),
            Option("latest", "Show the newest container", "l", kind="bool"),
            Option("no-trunc", "Show ids and commands in full", kind="bool"),
            Option("quiet", "Show ids only", "q", kind="bool"),
        ),
        examples=("ps -a", "ps -a --filter status=exited"),
    ),
    Command(
        ("logs", "container logs"),
        "container",
        "Show what a container printed",
        _logs,
        (
            Option("follow", "Go on until the container ends", "f", kind="bool"),
            Option("tail", "Number of lines from the end", "n", "N", default="all"),
            Option("timestamps", "Show when each line was printed, in UTC", "t", kind="bool"),
        ),
        (_CONTAINER,),
    ),
    Command(
        ("stop", "container stop"),
        "container",
        "Stop containers: a signal, and SIGKILL when they do not end in time",
        _stop,
        (
            Option("time", "Seconds to wait before SIGKILL", "t", "SECONDS", kind="integer", default="10"),
            Option("signal", "Signal to send first", "s", "SIGNAL"),
        ),
        (_CONTAINERS,),
    ),
    Command(
        ("kill", "container kill"),
        "container",
        "Send a signal to containers",
        _kill,
        (Option("signal", "Signal to send", "s", "SIGNAL", default="SIGKILL"),),
        (_CONTAINERS,),
    ),
    Command(
        ("wait", "container wait"),
        "container",
        "Wait until containers end, and give their exit statuses",
        _wait,
        arguments=(_CONTAINERS,),
    ),
    Command(
        ("rm", "container rm", "container remove"),
        "container",
        "Remove containers",
        _rm,
        (
            Option("force", "Kill a running container first", "f", kind="bool"),
            Option("volumes", "Remove its anonymous volumes as well", "v", kind="bool"),
        ),
        (_CONTAINERS,),
    ),
    Command(
        ("container inspect",),
        "container",
        "Show everything known of containers, as JSON",
        _inspect_container,
        arguments=(_CONTAINERS,),
    ),
)
