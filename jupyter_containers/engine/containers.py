"""``engine.containers``: everything about containers."""

from __future__ import annotations

import os
import signal as signals
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Unpack

import msgspec

from jupyter_containers.engine.container import execs
from jupyter_containers.engine.container.control import KILL_WAIT, named, not_running
from jupyter_containers.engine.container.files import ContainerFiles
from jupyter_containers.engine.container.inspection import ContainerViews
from jupyter_containers.engine.container.reconfiguration import Reconfiguration
from jupyter_containers.engine.container.sessions import Ends, Session
from jupyter_containers.engine.launch import creation
from jupyter_containers.engine.launch.streams import Capture
from jupyter_containers.engine.options import (
    ExecKeywords,
    RunKeywords,
    RunOptions,
)
from jupyter_containers.engine.record import ContainerRecord, new_id
from jupyter_containers.engine.repair import recovery
from jupyter_containers.engine.views import (
    Container,
    Exec,
    ResourceUsage,
    RunResult,
)
from jupyter_containers.errors import (
    Conflict,
    ContainerNotRunning,
    EngineError,
    InvalidInput,
    StartFailed,
    UsageError,
    size_text,
)
from jupyter_containers.events import Notice, Output, ignore
from jupyter_containers.oci.names import Platform
from jupyter_containers.runtime import handle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from jupyter_containers.engine.container.sessions import Console
    from jupyter_containers.engine.explain.stepping import Stages
    from jupyter_containers.engine.files.held_files import Attendant, HeldFiles
    from jupyter_containers.engine.images import Image
    from jupyter_containers.engine.move.moving import Moved
    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.events import EventSink, Stream
    from jupyter_containers.runtime.protocol import ExecRequest, ExitStatus

INTERRUPT_GRACE = 2.0


class Containers(ContainerFiles, ContainerViews, Reconfiguration):
    """The containers of an engine. All methods block and are thread-safe."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self._warned: set[str] = set()

    # -- running -----------------------------------------------------------------------------------------------------

    def run(
        self,
        image: str | Image,
        command: Sequence[str] | None = None,
        *,
        options: RunOptions | None = None,
        stdin: bytes | BinaryIO | None = None,
        sink: EventSink = ignore,
        console: Console | None = None,
        attendant: Attendant | None = None,
        **keywords: Unpack[RunKeywords],
    ) -> RunResult | Container:
        """Create a container and start it; wait for its end unless ``detach``.

        Parameters
        ----------
        image
            A name or an id, which is pulled, or made, when it is not here; or an image.
        command
            Program and arguments instead of the image's.
        options, keywords
            How to run it: either the value, or Docker's long flags with underscores (``memory="64m"``).
        stdin
            What it reads, where ``interactive``: bytes or a binary file. Otherwise its input is empty.
        console
            The caller's terminal, which then carries input and output.
        attendant
            Asked before it starts, and after its end where it is not detached.

        Returns
        -------
        RunResult, or a Container when detached, also by the keys of the console.

        Raises
        ------
        ImageNotFound, CommandNotFound, CommandNotExecutable, StartFailed, NameInUse, Unsupported, InvalidInput
            when it does not start; nothing is left behind.
        KeyboardInterrupt
            once it was ended, which a second one hastens; without ``remove`` it is kept, as after any other end.
        """
        chosen = _choose(options, keywords, interactive=stdin is not None)
        if console is not None and not chosen.detach:
            console.check(stdin=chosen.interactive, terminal=chosen.tty)
        identity = new_id()
        with recovery.Ownership(self._parts, identity):  # before it is entered: nobody takes it for one that has ended
            try:
                record = self._create(image, command, chosen, sink, identity)
            except BaseException:
                creation.abandon(self._parts, identity)
                raise
            try:
                if attendant is not None:
                    attendant.created(Container(record.id, record.name, record.image), partial(self._held, record))
                if chosen.detach:
                    creation.start_detached(self._parts, record)
                    return Container(record.id, record.name, record.image)
                result = self._foreground(record, stdin, sink, console, attendant)
            except BaseException as error:
                with suppress(EngineError):  # it may be on its way to a restart
                    self.kill(record.id)
                interrupted = isinstance(error, KeyboardInterrupt) and self._status(record).exit is not None
                if record.options.remove or not interrupted:
                    creation.discard(self._parts, record, volumes=True)
                raise
            if result is None:
                return Container(record.id, record.name, record.image)
            return result

    def step(
        self,
        image: str | Image,
        command: Sequence[str] | None = None,
        *,
        options: RunOptions | None = None,
        stdin: bytes | BinaryIO | None = None,
        sink: EventSink = ignore,
        **keywords: Unpack[RunKeywords],
    ) -> Stages:
        """Start a container as :meth:`run` does, one stage at a time: iterate, look at each stage, then ``finish()``.

        Between two stages its first process waits. With ``abort()``, and when this process or the engine ends, nothing
        of it is left. Parameters and errors are those of :meth:`run`.

        Raises
        ------
        Unsupported
            for another runtime's command (``runtime``) and for a terminal (``tty``).
        """
        from jupyter_containers.engine.explain import stepping  # noqa: PLC0415 - seldom used

        chosen = _choose(options, keywords, interactive=stdin is not None)
        platform = Platform.parse(chosen.platform) if chosen.platform else None
        self._parts.library.obtain(
            self._image_name(image), platform=platform, pull=chosen.pull, sink=sink
        )  # an interrupt ends it at once
        chosen = msgspec.structs.replace(chosen, pull="missing")
        run = partial(self.run, image, command, options=chosen, stdin=stdin, sink=sink)
        return stepping.begin(self._parts, self, run, chosen)

    def _held(self, record: ContainerRecord) -> AbstractContextManager[HeldFiles]:
        from jupyter_containers.engine.files import held_files  # noqa: PLC0415 - few runs have an attendant

        return held_files.held(self._parts, record)

    def create(
        self,
        image: str | Image,
        command: Sequence[str] | None = None,
        *,
        options: RunOptions | None = None,
        sink: EventSink = ignore,
        **keywords: Unpack[RunKeywords],
    ) -> Container:
        """Create a container without starting it; parameters and errors as those of :meth:`run`."""
        record = self._create(image, command, _choose(options, keywords), sink)
        return Container(record.id, record.name, record.image)

    def _create(
        self,
        image: str | Image,
        command: Sequence[str] | None,
        options: RunOptions,
        sink: EventSink,
        identity: str | None = None,
    ) -> ContainerRecord:
        if isinstance(command, str):
            raise InvalidInput("the command is one text", hint=f"give a list: {command.split()!r}")
        record = creation.create(self._parts, self._image_name(image), command, options, sink, identity)
        self._warn(record.notices, sink)
        try:
            if options.cidfile:
                _write_cidfile(options.cidfile, record.id)
        except BaseException:
            creation.discard(self._parts, record)
            raise
        return record

    def _image_name(self, image: str | Image) -> str:
        """What finds this very image: its name, or its id when the name is another one's by now."""
        if isinstance(image, str):
            return image
        with suppress(EngineError):
            if self._parts.library.find(image.name).image_id == str(image.id):
                return image.name
        return str(image.id)

    def start(self, name: str) -> None:
        """Start a container that was created or has ended, in the background. One that runs already is left alone.

        Raises
        ------
        StartFailed, Conflict
            when it cannot be started, or is paused.
        """
        with self._owning(self.record(name)) as record:
            if self._startable(record):
                self._begin(record)

    def _startable(self, record: ContainerRecord) -> bool:
        current = self._status(record)
        if current.state == "paused":
            raise Conflict(f"the container {record.name} is paused", hint=f"unpause it (unpause {record.name})")
        return not current.running

    def start_attached(self, name: str, *, stdin: bool = False, size: tuple[int, int] | None = None) -> Session:
        """Start a container that was created or has ended, and attach to it from its first byte on.

        It does not end with this process. ``size`` is that of its terminal, rows and columns.
        """
        with self._owning(self.record(name)) as record:
            if not self._startable(record):
                return self.attach(record.id, stdin=stdin)
            ends = Ends(write=stdin and record.options.interactive)
            try:
                process = creation.start(self._parts, record, ends.stdio, detach=True, size=size)
            except BaseException:
                ends.close()
                raise
        return self._session(record, process, ends, terminal=record.options.tty)

    def attach(self, name: str, *, stdin: bool = True) -> Session:
        """Connect to the streams of a running container, from now on. Closing the session leaves it running.

        Raises
        ------
        ContainerNotRunning, Conflict
            when it does not run, is paused or about to be restarted.
        """
        record = self.record(name)
        current = self._status(record)
        if current.state == "paused":
            raise Conflict(f"the container {record.name} is paused", hint=f"unpause it (unpause {record.name})")
        if not current.running:
            raise not_running(record)
        ends = Ends(write=stdin and record.options.interactive)
        try:
            process = handle.attach(str(self._parts.paths.running / record.id), *ends.stdio)
        except Conflict as error:
            ends.close()
            raise named(error, record) from None
        except BaseException:
            ends.close()
            raise
        return self._session(record, process, ends, terminal=process.terminal)

    def _session(self, record: ContainerRecord, process: handle.Process, ends: Ends, *, terminal: bool) -> Session:
        self._tell(record, "attach")
        session = Session(process, ends, terminal=terminal)
        session.on_detach = lambda: self._tell(record, "detach")
        return session

    def _warn(self, notices: Sequence[str], sink: EventSink) -> None:
        """Say each thing once: a host does not change from one container to the next."""
        for text in notices:
            if text not in self._warned:
                self._warned.add(text)
                sink(Notice(text, "warning"))

    def _foreground(
        self,
        record: ContainerRecord,
        stdin: bytes | BinaryIO | None,
        sink: EventSink,
        console: Console | None,
        attendant: Attendant | None,
    ) -> RunResult | None:
        """How it ended; None when the user of the console has detached from it."""
        options = record.options
        ends = Ends(stdin, write=console is not None and options.tty and options.interactive)
        size = console.size() if console is not None and options.tty else None
        try:
            process = creation.start(self._parts, record, ends.stdio, size=size)
        except BaseException:
            ends.close()
            raise
        session = self._session(record, process, ends, terminal=options.tty)
        try:
            out, err = _capture(session, sink)
            ended = _attend(session, console)
            if ended is None:
                session.close()
                return None
            result = _result(record, ended, out, err)
            if attendant is not None:
                ran = Container(record.id, record.name, record.image)
                attendant.ended(ran, result, partial(self._held, record))
        except BaseException:
            session.close()
            raise
        if options.remove:
            creation.throw_away(self._parts, record, session)
        else:
            session.close()
        return result

    def exec(
        self,
        name: str,
        command: Sequence[str],
        *,
        stdin: bytes | BinaryIO | None = None,
        sink: EventSink = ignore,
        console: Console | None = None,
        **keywords: Unpack[ExecKeywords],
    ) -> RunResult | Exec:
        """Run another command in a running container; an Exec when detached, by ``detach`` or the console's keys.

        Raises
        ------
        ContainerNotRunning, Conflict, CommandNotFound, CommandNotExecutable, StartFailed
            when it cannot be started.
        """
        record = self.record(name)
        detach, tty = keywords.get("detach", False), keywords.get("tty", False)
        request = execs.request(self._parts, record, command, keywords)
        if not self._status(record).running:
            raise not_running(record)
        request["detach"] = detach
        self._tell(record, f"exec_create: {' '.join(command)}", execID=request["exec_id"])
        started = Exec(request["exec_id"], record.id)
        if detach:
            self._execute(record, request, (None, None, None)).close()
            return started
        if console is not None:
            console.check(stdin=stdin is not None, terminal=tty)
            if tty and (size := console.size()):
                request["process"]["consoleSize"] = {"height": size[0], "width": size[1]}
        typed = console is not None and tty and stdin is not None
        ends = Ends(None if typed else stdin, write=typed)
        try:
            process = self._execute(record, request, ends.stdio)
        except BaseException:
            ends.close()
            raise
        with Session(process, ends, terminal=tty) as session:
            session.on_detach = lambda: self._tell(record, "exec_detach", execID=started.id)
            out, err = _capture(session, sink)
            ended = _attend(session, console)
        return started if ended is None else _result(record, ended, out, err, tuple(command))

    def _execute(
        self, record: ContainerRecord, request: ExecRequest, stdio: tuple[int | None, int | None, int | None]
    ) -> handle.Process:
        try:
            return handle.execute(str(self._parts.paths.running / record.id), request, *stdio)
        except (ContainerNotRunning, Conflict) as error:
            raise named(error, record) from None
        except StartFailed:
            if not self._status(record).running:  # it ended meanwhile
                raise not_running(record) from None
            raise

    # -- moving ----------------------------------------------------------------------------------------------------

    def move(
        self,
        name: str,
        target: str,
        *,
        start: bool | None = None,
        time: float | None = None,
        program: str = "",
        live: bool = False,
    ) -> Moved:
        """Carry a container to another store, with its writable layer, volumes, log and configuration; start it there.

        Interrupted at any point it is in one of the two, and can be started there only; the next move finishes.

        Parameters
        ----------
        target
            The directory of a store, or ``ssh://[USER@]HOST[:PORT][/STORE]``: a machine that has this package.
        start
            Whether it is started there; by default when it ran here.
        time
            Seconds to wait for its end, as for :meth:`stop`.
        program
            What this package's command is called over there.
        live
            Without ending its processes: root's, by CRIU. It stands still while they are sent, with its connections
            closed. One that does not run is moved as it is.

        Raises
        ------
        Conflict, Unavailable, Unsupported, InvalidInput
            when it cannot be moved: then it is here, and runs as before.
        """
        from jupyter_containers.engine.move import channel as move_channel  # noqa: PLC0415 - seldom used
        from jupyter_containers.engine.move import moving  # noqa: PLC0415 - seldom used

        record = self.record(name)

        def stop() -> bool:
            ran = self._stop(record, time, None)
            if ran:
                self._tell(record, "stop")
            return ran

        called = program or move_channel.PROGRAM
        return moving.move(self._parts, record, target, stop=stop, start=start, program=called, running=live)

    def receive(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        """The other end of :meth:`move`: take a container that comes by a connection."""
        from jupyter_containers.engine.move import target as move_target  # noqa: PLC0415 - seldom used

        move_target.receive(self._parts, incoming, outgoing)


def _choose(options: RunOptions | None, keywords: Mapping[str, Any], *, interactive: bool = False) -> RunOptions:
    if options is not None and keywords:
        raise UsageError("give the options of run as one value or as keywords, not both")
    chosen = options or RunOptions.of(keywords)
    chosen.check()
    return msgspec.structs.replace(chosen, interactive=True) if interactive and not chosen.interactive else chosen


def _capture(session: Session, sink: EventSink) -> tuple[Capture, Capture]:
    """Keep the output of a session, and tell it."""
    out, err = Capture(), Capture()

    def on_output(stream: Stream, data: bytes) -> None:
        (out if stream == "stdout" else err).add(data)
        sink(Output(stream, data))

    session.on_output = on_output
    return out, err


def _attend(session: Session, console: Console | None) -> ExitStatus | None:
    """Serve a session to its end; None when the console's user has detached.

    After an interrupt the process is asked to end, then killed.
    """
    try:
        if console is None:
            session.pump()
        elif not console.attend(session):
            session.detach()
            return None
        ended = session.wait()
    except BaseException:
        session.signal(signals.SIGINT, final=True)
        if session.wait(timeout=INTERRUPT_GRACE) is None:
            session.signal(signals.SIGKILL, final=True)
            session.wait(timeout=KILL_WAIT)
        raise
    assert ended is not None
    return ended


def _result(
    record: ContainerRecord, ended: ExitStatus, out: Capture, err: Capture, command: tuple[str, ...] | None = None
) -> RunResult:
    usage = ended["usage"]
    cpu = (usage["cpu_user_ns"] + usage["cpu_system_ns"]) / 1e9 if "cpu_user_ns" in usage else None
    notices = list(record.notices)
    for stream, capture in (("stdout", out), ("stderr", err)):
        if capture.dropped:
            notices.append(f"the first {size_text(capture.dropped)} of {stream} were not kept")
    return RunResult(
        exit_code=ended["code"],
        stdout_bytes=out.bytes(),
        stderr_bytes=err.bytes(),
        usage=ResourceUsage(
            wall_seconds=max(0.0, (ended["finished_at"] - ended["started_at"]) / 1e9),
            cpu_seconds=cpu,
            memory_peak=usage.get("memory_peak"),
        ),
        container_id=record.id,
        command=command or record.args,
        image=record.image,
        oom_killed=ended["oom_killed"],
        memory_limit=record.memory_limit,
        notices=tuple(notices),
    )


def _write_cidfile(path: str, identity: str) -> None:
    try:
        fd = os.open(Path(path).expanduser(), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InvalidInput(f"cannot write the container id file {path}: {error.strerror}") from error
    with os.fdopen(fd, "w") as file:
        file.write(identity)
