"""What a monitor writes down: who runs (``monitor.json``), how it ended (``exit``), what happened (the journal)."""

from __future__ import annotations

import os

from jupyter_containers.linux import namespaces
from jupyter_containers.monitor import journal, record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Books:
    """The records of one container; nothing is written where the request names no place for it.

    Parameters
    ----------
    request
        A LaunchRequest.
    boot_id
        Of the running kernel: the record of a container outlives a reboot, and must be seen to be from before.
    """

    def __init__(self, request: dict[str, Any], boot_id: str) -> None:
        self._id: str = request["id"]
        self._begun = False
        self._boot_id = boot_id
        self._state_dir: str = request.get("state_dir") or ""
        run_dir: str = request.get("run_dir") or ""
        self._running = f"{self._state_dir or run_dir}/monitor.json" if run_dir else ""
        self._events: dict[str, Any] | None = request.get("events")

    def runs(self, init: dict[str, int], started_at: int, **more: Any) -> None:
        """Write down who runs, for those who look without asking."""
        if not self._running:
            return
        own = os.getpid()
        found = {
            "id": self._id,
            "monitor": {"pid": own, "start_time": namespaces.start_time(own)},
            "init": init,
            "started_at": started_at,
            "boot_id": self._boot_id,
            **more,
        }
        record.write(self._running, found)

    def ended(self, status: dict[str, Any]) -> None:
        """Write the exit record; where that fails, those who wait are told all the same.

        On a full disk it takes the place of ``monitor.json``, whose space is there already.
        """
        if not self._state_dir:
            return
        place = f"{self._state_dir}/exit"
        try:
            record.write(place, status)
        except OSError as error:
            try:
                record.write_over(self._running, place, status)
            except OSError:
                status["cause"] = status["cause"] or f"exit record: {error.strerror}"

    def begins(self) -> None:
        """Forget all of an earlier run of the same container; nothing happens when its monitor starts it again."""
        if self._begun:
            return
        self._begun = True
        if self._state_dir:
            remove(f"{self._state_dir}/exit")
        if self._running:
            remove(self._running)  # of a monitor that was killed

    def close(self) -> None:
        """Nothing runs any more."""
        if self._running:
            remove(self._running)

    def event(self, action: str, **attributes: str) -> None:
        """Enter what happened in the store's journal."""
        if self._events:
            about = {**self._events["attributes"], **attributes}
            own = ("container", action, self._id, about)
            beside = self._events.get("beside", {}).get(action)
            if not beside:
                journal.append_all(self._events["path"], [own])
                return
            more = [(kind, what, identity, dict(found)) for kind, what, identity, found in beside]
            journal.append_all(self._events["path"], [own, *more] if action == "die" else [*more, own])

    def describe(self, message: dict[str, Any]) -> None:
        """Other attributes for the events from now on, and other events that go with them."""
        if self._events:
            self._events["attributes"].update(message.get("attributes", {}))
            if "beside" in message:
                self._events["beside"] = message["beside"]


def remove(path: str) -> None:
    """Remove a file, if it is there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
