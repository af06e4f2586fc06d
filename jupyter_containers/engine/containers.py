"""``engine.containers``: everything about containers."""

from __future__ import annotations

import os
import signal as signals
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Unpack

import msgspec

from jupyter_containers.engine import creation, logs, recovery, status
from jupyter_containers.engine.options import (
    RunKeywords,
    RunOptions,
    merge_environment,
    resolve_environment,
    signal_number,
)
from jupyter_containers.engine.record import ContainerRecord
from jupyter_containers.engine.spec import sandboxing
from jupyter_containers.engine.streams import Capture, InputFeed, OutputPipes
from jupyter_containers.engine.views import ContainerSummary, ResourceUsage, RunResult
from jupyter_containers.errors import (
    Conflict,
    ContainerNotFound,
    ContainerNotRunning,
    ContainerRunning,
    InvalidInput,
    UsageError,
)
from jupyter_containers.events import Notice, Output, ignore
from jupyter_containers.runtime import handle

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.events import EventSink, Stream
    from jupyter_containers.runtime.handle import Process
    from jupyter_containers.runtime.protocol import ExecRequest, ExitStatus

INTERRUPT_GRACE = 2.0
KILL_WAIT = 10.0


@dataclass(frozen=True, slots=True)
class Container:
    """A container by its id; what it is doing is asked anew each time (``engine.containers.get(name)``)."""

    id: str
    name: str
    image: str

    @property
    def short_id(self) -> str:
        """The first 12 digits, as listings show them."""
        return self.id[:12]

    def __str__(self) -> str:
        """The name, as commands take it."""
        return self.name


class Containers:
    """The containers of an engine. All methods block and are thread-safe."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._warned: set[str] = set()

    # -- running -----------------------------------------------------------------------------------------------------

    def run(
        self,
        image: str,
        command: Sequence[str] | None = None,
        *,
        options: RunOptions | None = None,
        stdin: bytes | BinaryIO | None = None,
        sink: EventSink = ignore,
        **keywords: Unpack[RunKeywords],
    ) -> RunResult | Container:
        """Create a container and start it; wait for its end unless ``detach``.

        Parameters
        ----------
        image
            A name or an id; it is pulled, or made, when it is not here.
        command
            Program and arguments instead of the image's.
        options, keywords
            How to run it: either the value, or Docker's long flags with underscores (``memory="64m"``).
        stdin
            What it reads, where ``interactive``: bytes or a binary file. Otherwise its input is empty.

        Returns
        -------
        RunResult, or a Container when detached.

        Raises
        ------
        ImageNotFound, CommandNotFound, CommandNotExecutable, StartFailed, NameInUse, Unsupported, InvalidInput
            when it does not start; nothing is left behind.
        """
        if options is not None and keywords:
            raise UsageError("give the options of run as one value or as keywords, not both")
        chosen = options or RunOptions.of(keywords)
        chosen.check()
        if isinstance(command, str):
            raise InvalidInput("the command is one text", hint=f"give a list: {command.split()!r}")
        if stdin is not None and not chosen.interactive:
            chosen = msgspec.structs.replace(chosen, interactive=True)
        record = creation.create(self._parts, image, command, chosen, sink)
        self._warn(record.notices, sink)
        with recovery.Ownership(self._parts, record.id):
            try:
                if chosen.cidfile:
                    _write_cidfile(chosen.cidfile, record.id)
                if chosen.detach:
                    creation.start_detached(self._parts, record)
                    return Container(record.id, record.name, record.image)
                result = self._foreground(record, stdin, sink)
            except BaseException:
                creation.discard(self._parts, record)
                raise
            if chosen.remove:
                creation.discard(self._parts, record)
            return result

    def _warn(self, notices: Sequence[str], sink: EventSink) -> None:
        """Say each thing once: a host does not change from one container to the next."""
        for text in notices:
            if text not in self._warned:
                self._warned.add(text)
                sink(Notice(text, "warning"))

    def _foreground(self, record: ContainerRecord, stdin: bytes | BinaryIO | None, sink: EventSink) -> RunResult:
        pipes, feed = OutputPipes(), InputFeed(stdin)
        captures: dict[Stream, Capture] = {"stdout": Capture(), "stderr": Capture()}

        def on_output(stream: Stream, data: bytes) -> None:
            captures[stream].add(data)
            sink(Output(stream, data))

        try:
            process = creation.start(self._parts, record, (feed.descriptor, pipes.stdout, pipes.stderr))
            pipes.close_writers()
            with process:
                ended = _follow(process, pipes, on_output)
        finally:
            pipes.close()
            feed.close()
        return _result(record, ended, captures["stdout"], captures["stderr"])

    def exec(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | Sequence[str] = (),
        workdir: str | None = None,
        user: str | None = None,
        stdin: bytes | BinaryIO | None = None,
        sink: EventSink = ignore,
        detach: bool = False,
    ) -> RunResult | None:
        """Run another command in a running container; None when detached.

        Raises
        ------
        ContainerNotRunning, CommandNotFound, CommandNotExecutable, StartFailed
            when it cannot be started.
        """
        record = self.record(name)
        request = self._exec_request(record, command, env, workdir, user)
        pipes, feed = OutputPipes(), InputFeed(stdin)
        captures: dict[Stream, Capture] = {"stdout": Capture(), "stderr": Capture()}

        def on_output(stream: Stream, data: bytes) -> None:
            captures[stream].add(data)
            sink(Output(stream, data))

        if not status.read(self._parts.paths, record.id).running:
            raise _not_running(record)
        run_dir = str(self._parts.paths.running / record.id)
        request["detach"] = detach
        try:
            if detach:
                handle.execute(run_dir, request).close()
                return None
            process = handle.execute(run_dir, request, feed.descriptor, pipes.stdout, pipes.stderr)
            pipes.close_writers()
            with process:
                ended = _follow(process, pipes, on_output)
        finally:
            pipes.close()
            feed.close()
        return _result(record, ended, captures["stdout"], captures["stderr"], tuple(command))

    def _exec_request(
        self,
        record: ContainerRecord,
        command: Sequence[str],
        env: Mapping[str, str] | Sequence[str],
        workdir: str | None,
        user: str | None,
    ) -> ExecRequest:
        if not command:
            raise InvalidInput("exec needs a command")
        given = [f"{key}={value}" for key, value in env.items()] if hasattr(env, "items") else list(env)
        isolation = sandboxing(record.options, guards_devices=self._parts.host.guards_devices)
        names = isolation.capabilities
        return {
            "process": {
                "args": list(command),
                "env": merge_environment(record.env, resolve_environment(given)),
                "cwd": workdir or record.cwd,
                "capabilities": {"bounding": names, "effective": names, "permitted": names},
                "noNewPrivileges": isolation.no_new_privileges,
            },
            "user": (user or record.user) or None,
            "seccomp": self._parts.planner.filter(isolation),
        }

    # -- looking -----------------------------------------------------------------------------------------------------

    def record(self, name: str) -> ContainerRecord:
        """What is kept of one container; by name, id, or the beginning of its id.

        Raises
        ------
        ContainerNotFound
            when there is none.
        Conflict
            when several ids begin so.
        """
        rows = self._parts.state.find_containers(name) if name else []
        if len(rows) > 1:
            raise Conflict(f"several containers have an id that begins with {name}", hint="give more of its digits")
        if not rows:
            raise ContainerNotFound(f"no such container: {name}", hint="'ps -a' lists what there is")
        return ContainerRecord.decode(rows[0].record)

    def get(self, name: str) -> Container:
        """One container by name or id."""
        record = self.record(name)
        return Container(record.id, record.name, record.image)

    def list(self, *, all: bool = False) -> builtins.list[ContainerSummary]:  # noqa: A002 - docker's flag
        """The running containers, newest first; ``all`` of them with the ended ones."""
        self._parts.recover()
        rows = [ContainerRecord.decode(row.record) for row in self._parts.state.containers()]
        summaries = [status.summarize(self._parts.paths, record) for record in rows]
        return [summary for summary in summaries if all or summary.state in {"running", "paused"}]

    def inspect(self, name: str) -> dict[str, Any]:
        """A container as Docker's ``inspect`` shows it."""
        return status.inspect(self._parts.paths, self.record(name))

    def logs(self, name: str, *, follow: bool = False, tail: int | None = None) -> Iterator[logs.LogEntry]:
        """What it printed, oldest first; ``tail`` the last lines only, ``follow`` goes on until it ends."""
        record = self.record(name)
        path = self._parts.paths.containers / record.id / "log.json"

        def running() -> bool:
            return status.read(self._parts.paths, record.id).running

        return logs.read(path, tail=tail, follow=running if follow else None)

    def wait(self, name: str) -> int:
        """Wait until it ends; its exit status."""
        record = self.record(name)
        current = status.read(self._parts.paths, record.id)
        if current.running:
            with suppress(ContainerNotRunning), self._connected(record) as process:
                process.wait()
            current = status.read(self._parts.paths, record.id)
        return current.exit["code"] if current.exit else 0

    # -- ending ------------------------------------------------------------------------------------------------------

    def stop(self, name: str, *, time: float | None = None, signal: str | None = None) -> None:
        """Ask it to end, and after ``time`` seconds (default: the image's or 10) kill it. Stopped: nothing happens."""
        record = self.record(name)
        if not status.read(self._parts.paths, record.id).running:
            return
        grace = record.stop_timeout if time is None else time
        with suppress(ContainerNotRunning), self._connected(record) as process:
            process.signal(signal_number(signal or record.stop_signal))
            if process.wait(timeout=grace if grace >= 0 else None) is None:
                process.kill()
                process.wait(timeout=KILL_WAIT)
        self._after_end(record)

    def kill(self, name: str, *, signal: str = "SIGKILL") -> None:
        """Send a signal to its first process.

        Raises
        ------
        ContainerNotRunning
            when it does not run.
        """
        record = self.record(name)
        number = signal_number(signal)
        with self._connected(record) as process:
            process.signal(number)
            if number == signals.SIGKILL:
                process.wait(timeout=KILL_WAIT)

    def remove(self, name: str, *, force: bool = False, volumes: bool = False) -> None:  # noqa: ARG002 - anonymous volumes live in the container's own directory and go with it
        """Delete it with its writable layer and its log.

        Raises
        ------
        ContainerRunning
            when it runs and ``force`` is not set.
        """
        record = self.record(name)
        if status.read(self._parts.paths, record.id).running:
            if not force:
                raise ContainerRunning(
                    f"the container {record.name} is running",
                    hint=f"stop it first (stop {record.name}), or remove it with force",
                )
            with suppress(ContainerNotRunning):
                self.kill(record.id)
        creation.discard(self._parts, record)

    def _connected(self, record: ContainerRecord) -> Process:
        if not status.read(self._parts.paths, record.id).running:
            raise _not_running(record)
        return handle.connect(str(self._parts.paths.running / record.id))

    def _after_end(self, record: ContainerRecord) -> None:
        if record.options.remove:
            creation.discard(self._parts, record)


def _not_running(record: ContainerRecord) -> ContainerNotRunning:
    return ContainerNotRunning(f"the container {record.name} is not running", hint="'ps -a' shows how it ended")


def _follow(process: Process, pipes: OutputPipes, on_output: Callable[[Stream, bytes], None]) -> ExitStatus:
    """Read the output to its end and wait. After an interrupt the process is asked to end, then killed."""
    try:
        pipes.pump(on_output)
        ended = process.wait()
    except BaseException:
        process.signal(signals.SIGINT)
        if process.wait(timeout=INTERRUPT_GRACE) is None:
            process.kill()
            process.wait(timeout=KILL_WAIT)
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
            notices.append(f"the first {capture.dropped} bytes of {stream} were not kept")
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
