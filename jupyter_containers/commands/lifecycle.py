"""The verbs that start, stop and change containers, and those that attach to one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from jupyter_containers.commands.model import Argument, Arguments, Command, Option
from jupyter_containers.commands.ports import PORT_OPTIONS
from jupyter_containers.commands.results import Ended, Lines, Result, Table
from jupyter_containers.commands.run_options import DETACH_KEYS, RUN_OPTIONS, SIG_PROXY, run_keywords
from jupyter_containers.errors import ContainerNotFound, EngineError, InvalidInput, Unsupported, UsageError
from jupyter_containers.events import Notice, Output

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jupyter_containers.commands.context import Context
    from jupyter_containers.engine import Session
    from jupyter_containers.events import Stream

CONTAINER = Argument("CONTAINER", completes="container")
CONTAINERS = Argument("CONTAINER", maximum=None, completes="container")


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


def _all(names: Sequence[str], act: Callable[[str], object]) -> Lines:
    """Do the same with every name, and say which it worked for."""

    def done(name: str) -> list[str]:
        act(name)
        return [name]

    return each(names, done)


def _create(context: Context, arguments: Arguments) -> Result:
    image, *command = arguments.positionals
    from jupyter_containers.engine import RunOptions  # noqa: PLC0415 - the engine is slow to import

    options = RunOptions.of({**run_keywords(context, arguments), "detach": True})
    made = context.engine().containers.create(image, command or None, options=options, sink=context.sink)
    return Lines((made.id,))


def attend(context: Context, session: Session, *, detach_keys: str | None, sig_proxy: bool) -> Ended:
    """Serve a session by the front end's terminal, or show its output where there is none."""

    def on_output(stream: Stream, data: bytes) -> None:
        context.sink(Output(stream, data))

    with session:
        session.on_output = on_output
        if context.console is None:
            session.pump()
        elif not context.console(detach_keys, sig_proxy).attend(session):
            session.detach()
            return Ended(None)
        ended = session.wait()
    return Ended(ended["code"] if ended else None)


def _console_options(arguments: Arguments) -> dict[str, Any]:
    return {
        "detach_keys": arguments.text("detach-keys"),
        "sig_proxy": arguments.options.get("sig-proxy", True) is True,
    }


def _start(context: Context, arguments: Arguments) -> Result:
    containers = context.engine().containers
    interactive = arguments.flag("interactive")
    if not arguments.flag("attach") and not interactive:
        return _all(arguments.positionals, containers.start)
    if len(arguments.positionals) > 1:
        raise UsageError("only one container can be started with -a or -i")
    options = _console_options(arguments)
    console = context.console(*options.values()) if context.console else None
    session = containers.start_attached(
        arguments.positionals[0], stdin=interactive and console is not None, size=console.size() if console else None
    )
    return attend(context, session, **options)


def _attach(context: Context, arguments: Arguments) -> Result:
    stdin = not arguments.flag("no-stdin") and context.console is not None
    options = _console_options(arguments)
    session = context.engine().containers.attach(arguments.positionals[0], stdin=stdin)
    if context.console is not None:
        try:
            context.console(*options.values()).check(stdin=session.stdin >= 0, terminal=session.terminal)
        except InvalidInput:
            session.close()
            raise
    return attend(context, session, **options)


def grace(arguments: Arguments) -> int | None:
    """Seconds to wait, under either of Docker's names for it."""
    given = arguments.integer("timeout")
    return arguments.integer("time") if given is None else given


def _stop(context: Context, arguments: Arguments) -> Result:
    time, signal = grace(arguments), arguments.text("signal")
    stop = context.engine().containers.stop
    return _all(arguments.positionals, lambda name: stop(name, time=time, signal=signal))


def _restart(context: Context, arguments: Arguments) -> Result:
    time, signal = grace(arguments), arguments.text("signal")
    restart = context.engine().containers.restart
    return _all(arguments.positionals, lambda name: restart(name, time=time, signal=signal))


def _kill(context: Context, arguments: Arguments) -> Result:
    kill = context.engine().containers.kill
    return _all(arguments.positionals, lambda name: kill(name, signal=arguments.text("signal") or "SIGKILL"))


def _pause(context: Context, arguments: Arguments) -> Result:
    return _all(arguments.positionals, context.engine().containers.pause)


def _unpause(context: Context, arguments: Arguments) -> Result:
    return _all(arguments.positionals, context.engine().containers.unpause)


def _wait(context: Context, arguments: Arguments) -> Result:
    wait = context.engine().containers.wait
    condition = cast("Any", arguments.text("condition") or "not-running")
    return each(arguments.positionals, lambda name: [str(wait(name, condition=condition))])


def _rename(context: Context, arguments: Arguments) -> Result:
    context.engine().containers.rename(*arguments.positionals)
    return Lines(())


def _update(context: Context, arguments: Arguments) -> Result:
    changes: dict[str, Any] = {name.replace("-", "_"): value for name, value in arguments.options.items()}
    if not changes:
        raise UsageError("update requires an option that says what to change", hint="see 'update --help'")
    anew = {name: changes.pop(name) for name in _ANEW if name in changes}
    if "env_add" in anew:
        anew["env_add"] = context.resolve_pairs(anew["env_add"])
    containers = context.engine().containers

    def act(name: str) -> None:
        if changes:
            containers.update(name, **changes)
        if anew:
            containers.reconfigure(name, **anew)

    return _all(arguments.positionals, act)


def _rm(context: Context, arguments: Arguments) -> Result:
    if arguments.flag("link"):
        raise Unsupported("--link is not supported: containers of a network find each other by name")
    remove = context.engine().containers.remove
    force, volumes = arguments.flag("force"), arguments.flag("volumes")

    def act(name: str) -> list[str]:
        try:
            remove(name, force=force, volumes=volumes)
        except ContainerNotFound as error:
            if not force:
                raise
            context.sink(Notice(str(error)))  # it is gone, which is what was wanted
            return []
        return [name]

    return each(arguments.positionals, act)


def _top(context: Context, arguments: Arguments) -> Result:
    name, *options = arguments.positionals
    found = context.engine().containers.top(name, options)
    return Table(found.titles, found.rows)


_TIME = Option("time", "Seconds to wait before SIGKILL", "t", "SECONDS", kind="integer", default="10")
_TIMEOUT = Option("timeout", "The same as --time", None, "SECONDS", kind="integer")
_SIGNAL = Option("signal", "Signal to send first", "s", "SIGNAL")
_ANEW = ("env_add", "env_rm", "label_add", "label_rm", "mount_add", "mount_rm")
_ANEW_OPTIONS = (
    Option("env-add", "Set an environment variable", None, "NAME=VALUE", repeatable=True),
    Option("env-rm", "Remove an environment variable", None, "NAME", repeatable=True),
    Option("label-add", "Set a label", None, "KEY=VALUE", repeatable=True),
    Option("label-rm", "Remove a label", None, "KEY", repeatable=True),
    Option("mount-add", "Mount something, as -v and --mount of run have it", None, "MOUNT", repeatable=True),
    Option("mount-rm", "Do not mount anything there any more", None, "TARGET", repeatable=True),
)
_LIMITS = frozenset(
    {
        "memory",
        "memory-swap",
        "memory-reservation",
        "cpus",
        "cpu-shares",
        "cpu-period",
        "cpu-quota",
        "cpu-rt-period",
        "cpu-rt-runtime",
        "cpuset-cpus",
        "cpuset-mems",
        "pids-limit",
        "blkio-weight",
        "restart",
    }
)

COMMANDS = (
    Command(
        ("create", "container create"),
        "container",
        "Create a container without starting it",
        _create,
        tuple(option for option in RUN_OPTIONS if option.long not in {"detach", "detach-keys", "sig-proxy", "attach"}),
        (
            Argument("IMAGE", completes="image"),
            Argument("COMMAND", minimum=0),
            Argument("ARG", minimum=0, maximum=None),
        ),
        interspersed=False,
        examples=("create --name job alpine sh -c 'echo later'",),
        python=("containers.create",),
    ),
    Command(
        ("start", "container start"),
        "container",
        "Start containers that were created or have ended",
        _start,
        (
            Option("attach", "Show its output, hand on signals and wait for its end", "a", kind="bool"),
            Option("interactive", "Hand on standard input as well", "i", kind="bool"),
            DETACH_KEYS,
            SIG_PROXY,
        ),
        (CONTAINERS,),
        examples=("start -ai job",),
        python=("containers.start",),
    ),
    Command(
        ("attach", "container attach"),
        "container",
        "Connect the terminal to the output and input of a running container",
        _attach,
        (Option("no-stdin", "Do not hand on standard input", kind="bool"), DETACH_KEYS, SIG_PROXY),
        (CONTAINER,),
        python=("containers.attach",),
    ),
    Command(
        ("stop", "container stop"),
        "container",
        "Stop containers: a signal, and SIGKILL when they do not end in time",
        _stop,
        (_TIME, _TIMEOUT, _SIGNAL),
        (CONTAINERS,),
        python=("containers.stop",),
    ),
    Command(
        ("restart", "container restart"),
        "container",
        "Stop containers and start them again",
        _restart,
        (_TIME, _TIMEOUT, _SIGNAL),
        (CONTAINERS,),
        python=("containers.restart",),
    ),
    Command(
        ("kill", "container kill"),
        "container",
        "Send a signal to containers",
        _kill,
        (Option("signal", "Signal to send", "s", "SIGNAL", default="SIGKILL"),),
        (CONTAINERS,),
        python=("containers.kill",),
    ),
    Command(
        ("pause", "container pause"),
        "container",
        "Stop all processes of containers where they are",
        _pause,
        arguments=(CONTAINERS,),
        python=("containers.pause",),
    ),
    Command(
        ("unpause", "container unpause"),
        "container",
        "Let the processes of paused containers go on",
        _unpause,
        arguments=(CONTAINERS,),
        python=("containers.unpause",),
    ),
    Command(
        ("wait", "container wait"),
        "container",
        "Wait until containers end, and give their exit statuses",
        _wait,
        (
            Option(
                "condition",
                "What to wait for",
                None,
                "CONDITION",
                default="not-running",
                choices=("not-running", "next-exit", "removed"),
            ),
        ),
        arguments=(CONTAINERS,),
        python=("containers.wait",),
    ),
    Command(
        ("rename", "container rename"),
        "container",
        "Give a container another name",
        _rename,
        arguments=(CONTAINER, Argument("NEW_NAME")),
        python=("containers.rename",),
    ),
    Command(
        ("update", "container update"),
        "container",
        "Change limits, restart policy and ports as they run; variables, labels and mounts by a restart",
        _update,
        (*(option for option in RUN_OPTIONS if option.long in _LIMITS), *PORT_OPTIONS, *_ANEW_OPTIONS),
        (CONTAINERS,),
        examples=(
            "update -m 256m --restart unless-stopped web",
            "update --env-add LEVEL=debug --mount-add logs:/log web",
        ),
        python=("containers.update",),
    ),
    Command(
        ("rm", "container rm", "container remove"),
        "container",
        "Remove containers",
        _rm,
        (
            Option("force", "Kill a running container first", "f", kind="bool"),
            Option("volumes", "Remove its anonymous volumes as well", "v", kind="bool"),
            Option("link", "Remove a link, not a container (not supported)", "l", kind="bool"),
        ),
        (CONTAINERS,),
        python=("containers.remove",),
    ),
    Command(
        ("top", "container top"),
        "container",
        "Show the processes of a container; options are those of ps",
        _top,
        arguments=(CONTAINER, Argument("PS_OPTION", minimum=0, maximum=None)),
        interspersed=False,
        python=("containers.top",),
    ),
)
