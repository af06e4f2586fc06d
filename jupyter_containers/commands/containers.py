"""The verbs on containers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from jupyter_containers.commands import formats
from jupyter_containers.commands.lifecycle import CONTAINER, CONTAINERS
from jupyter_containers.commands.model import Argument, Arguments, Command, Option
from jupyter_containers.commands.results import Lines, Log, Ran, Result, Started
from jupyter_containers.commands.run_options import (
    DETACH_KEYS,
    ENVIRONMENT,
    RUN_OPTIONS,
    read_environment,
    run_keywords,
)
from jupyter_containers.errors import UsageError
from jupyter_containers.events import Output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jupyter_containers.commands.context import Context
    from jupyter_containers.engine import Console
    from jupyter_containers.engine.container.logs import LogEntry
    from jupyter_containers.events import Event, EventSink

_COMMAND = Argument("COMMAND", minimum=0, completes="any")
_ARGS = Argument("ARG", minimum=0, maximum=None)


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

    if arguments.flag("step"):
        from jupyter_containers.commands.stepping import begin  # noqa: PLC0415 - seldom asked for

        return begin(context, arguments, image, command, keywords)
    streams = {text.upper() for text in arguments.texts("attach")}
    if streams:
        _check_streams(streams, arguments)
        keywords["interactive"] = bool(keywords.get("interactive")) and "STDIN" in streams
    outcome = context.engine().containers.run(
        image,
        command or None,
        options=RunOptions.of(keywords),
        stdin=context.stdin if keywords.get("interactive") else None,
        sink=_only(context.sink, streams) if streams else context.sink,
        console=_console(context, arguments),
        attendant=context.attendant,
    )
    return Started(outcome) if isinstance(outcome, Container) else Ran(outcome)


def _check_streams(streams: set[str], arguments: Arguments) -> None:
    if unknown := streams - {"STDIN", "STDOUT", "STDERR"}:
        raise UsageError(f"there is no stream {min(unknown)}", hint="attach to stdin, stdout or stderr")
    if arguments.flag("detach"):
        raise UsageError("-a and -d contradict each other", hint="leave one of them out")


def _only(sink: EventSink, streams: set[str]) -> EventSink:
    """A sink for the output of some streams alone."""

    def tell(event: Event) -> None:
        if not isinstance(event, Output) or event.stream.upper() in streams:
            sink(event)

    return tell


def _console(context: Context, arguments: Arguments) -> Console | None:
    if context.console is None or arguments.flag("detach"):
        return None
    return context.console(arguments.text("detach-keys"), arguments.options.get("sig-proxy", True) is True)


def _exec(context: Context, arguments: Arguments) -> Result:
    name, *command = arguments.positionals
    if not command:
        if not context.script:
            raise UsageError("exec requires a command: exec [OPTIONS] CONTAINER COMMAND [ARG...]")
        command = ["/bin/sh", "-s"]
    result = context.engine().containers.exec(
        name,
        command,
        env=read_environment(context, arguments),
        workdir=arguments.text("workdir"),
        user=arguments.text("user"),
        stdin=context.stdin if context.script or arguments.flag("interactive") else None,
        sink=context.sink,
        detach=arguments.flag("detach"),
        privileged=arguments.flag("privileged"),
        tty=arguments.flag("tty"),
        console=_console(context, arguments),
    )
    from jupyter_containers.engine import RunResult  # noqa: PLC0415 - it is there by now

    return Ran(result, "exec") if isinstance(result, RunResult) else Lines(())


Row = TypeVar("Row")


def matcher(texts: Sequence[str], make: Callable[[str], Callable[[Row], bool]]) -> Callable[[Row], bool]:
    """Whether a row matches the filters: one of those with the same key, for every key, but all labels; as Docker's."""
    keyed: dict[str, list[Callable[[Row], bool]]] = {}
    for text in texts:
        keyed.setdefault(text.partition("=")[0], []).append(make(text))
    return lambda row: all(
        (all if key == "label" else any)(test(row) for test in tests) for key, tests in keyed.items()
    )


def _logs(context: Context, arguments: Arguments) -> Result:
    tail = arguments.text("tail")
    if tail is not None and tail != "all" and not tail.isdecimal():
        raise UsageError(f'invalid argument "{tail}" for "-n, --tail": it is neither a number nor all')
    lines = None if tail in {None, "all"} else int(tail or 0)
    containers = context.engine().containers
    entries = containers.logs(
        arguments.positionals[0],
        follow=arguments.flag("follow"),
        tail=lines,
        since=arguments.text("since"),
        until=arguments.text("until"),
    )
    return Log(_log_output(entries, timestamps=arguments.flag("timestamps"), details=arguments.flag("details")))


def _log_output(entries: Iterator[LogEntry], *, timestamps: bool, details: bool) -> Iterator[Output]:
    from urllib.parse import quote_plus  # noqa: PLC0415 - fast start

    for entry in entries:
        before = f"{entry.stamp} " if timestamps else ""
        if details:
            pairs = sorted(entry.details.items())
            before += ",".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs) + " "
        yield Output(entry.stream, before.encode() + entry.data)


def _inspect_container(context: Context, arguments: Arguments) -> Result:
    containers = context.engine().containers
    look = partial(containers.inspect, size=True) if arguments.flag("size") else containers.inspect
    return formats.inspected(arguments.positionals, look, arguments.text("format"))


COMMANDS = (
    Command(
        ("run", "container run"),
        "container",
        "Create a container from an image and run a command in it",
        _run,
        (*RUN_OPTIONS, Option("step", "Start it one stage at a time, and show each: Enter goes on", kind="bool")),
        (Argument("IMAGE", completes="image"), _COMMAND, _ARGS),
        interspersed=False,
        body="stdin",
        examples=("run --rm alpine echo hello", "run -d --name web -v ./site:/www:ro busybox httpd -f -h /www"),
        python=("containers.run",),
    ),
    Command(
        ("exec", "container exec"),
        "container",
        "Run a command in a running container",
        _exec,
        (
            Option("detach", "Run in the background", "d", kind="bool"),
            *ENVIRONMENT,
            Option("interactive", "Keep standard input open", "i", kind="bool"),
            Option("tty", "Give it a terminal", "t", kind="bool"),
            Option("privileged", "Give it all privileges of this user", kind="bool"),
            DETACH_KEYS,
        ),
        (CONTAINER, _COMMAND, _ARGS),
        interspersed=False,
        body="stdin",
        examples=("exec web ls -l /www",),
        python=("containers.exec",),
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
            Option("since", "Only what was printed after", None, "TIME|DURATION"),
            Option("until", "Only what was printed before", None, "TIME|DURATION"),
            Option("details", "Show the labels and variables that --log-opt chose", kind="bool"),
        ),
        (CONTAINER,),
        python=("containers.logs",),
    ),
    Command(
        ("container inspect",),
        "container",
        "Show everything known of containers, as JSON",
        _inspect_container,
        (formats.TEMPLATE, formats.SIZE),
        arguments=(CONTAINERS,),
        python=("containers.inspect",),
    ),
)
