"""Finding out whether a container works: a command that is run in it again and again, as Docker's HEALTHCHECK.

``starting`` until the first success, ``healthy`` after one, ``unhealthy`` after ``retries`` failures in a row. Failures
in the start period do not count before the first success.
"""

from __future__ import annotations

from time import monotonic, time_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jupyter_containers.monitor.job import Job
    from jupyter_containers.monitor.process import Monitor

_SIGKILL = 9
_MOST_OUTPUT = 4096
_MOST_ENTRIES = 5
_TIMER, _TIMEOUT = "health", "health timeout"


class _Output:
    """Stands where a log does, and keeps the beginning of what a check prints."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, _stream: str, data: bytes) -> None:
        """Take output."""
        self._data += data[: _MOST_OUTPUT - len(self._data)]

    def end(self, _stream: str) -> None:
        """Nothing waits to be written."""

    def text(self) -> str:
        """What was printed."""
        return self._data.decode("utf-8", "replace")


class Health:
    """One run of a container, and what its checks found."""

    def __init__(self, monitor: Monitor, check: dict[str, Any]) -> None:
        self._monitor = monitor
        self._check = check
        self._container: Job = monitor.job
        self._status = "starting"
        self._streak = 0
        self._log: list[list[Any]] = []
        self._began = monotonic()
        self._started = False
        self._probe: Job | None = None
        self._timed_out = False
        self._wait()

    def state(self) -> dict[str, Any]:
        """For the record: the status, failures in a row, and start, end, exit status and output of the last checks."""
        return {"status": self._status, "streak": self._streak, "log": self._log}

    def stop(self) -> None:
        """The container has ended."""
        self._monitor.loop.cancel(_TIMER)
        self._monitor.loop.cancel(_TIMEOUT)

    def _starting(self) -> bool:
        return not self._started and monotonic() - self._began < self._check["start_period"]

    def _wait(self) -> None:
        name = "start_interval" if self._starting() else "interval"
        self._monitor.loop.after(_TIMER, self._check[name], self._run)

    def _run(self) -> None:
        if self._monitor.why_no_exec():  # it is paused
            self._wait()
            return
        output, begun, during_start = _Output(), time_ns(), self._starting()

        def ended(job: Job) -> None:
            self._note(job, output.text(), begun, during_start=during_start)

        self._timed_out = False
        self._monitor.loop.after(_TIMEOUT, self._check["timeout"], self._give_up)
        self._probe = self._monitor.execs.start(self._check, [-1, -1, -1], ended, log=output)

    def _give_up(self) -> None:
        self._timed_out = True
        if self._probe is not None:
            self._probe.signal(_SIGKILL)

    def _note(self, job: Job, output: str, begun: int, *, during_start: bool) -> None:
        self._monitor.loop.cancel(_TIMEOUT)
        if self._container.status is not None or self._monitor.job is not self._container:
            return
        if self._timed_out:
            code, output = -1, f"Health check exceeded timeout ({self._check['timeout']:g}s)\n{output}"
        elif job.failure or job.status is None:
            code, output = -1, (job.failure or {}).get("detail", "")
        else:
            code = job.status["code"]
        self._log = [*self._log, [begun, time_ns(), code, output]][-_MOST_ENTRIES:]
        before = self._status
        if code == 0:
            self._started, self._streak, self._status = True, 0, "healthy"
        elif not during_start:
            self._streak += 1
            if self._streak >= self._check["retries"]:
                self._status = "unhealthy"
        self._monitor.keep_record()
        if self._status != before:
            self._monitor.books.event(f"health_status: {self._status}")
            if self._status == "unhealthy":
                self._react()
        self._wait()

    def _react(self) -> None:
        """Do what the container's creator wants of one that does not work any more."""
        action = self._check.get("on_failure") or "none"
        if action == "stop":
            self._monitor.signal(self._check["stop_signal"], final=True)
            kill = self._container.signal
            self._monitor.loop.after("health stop", self._check["stop_timeout"], lambda: kill(_SIGKILL))
        elif action != "none":
            self._monitor.restart_anyway = action == "restart"
            self._monitor.signal(_SIGKILL)
