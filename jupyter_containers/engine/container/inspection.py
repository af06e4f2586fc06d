"""What is seen of containers: lists, documents, processes, output, what was started in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from jupyter_containers.engine import status
from jupyter_containers.engine.container import document, execs, logs
from jupyter_containers.engine.container.control import not_running
from jupyter_containers.engine.container.usage import ContainerFigures
from jupyter_containers.engine.moments import moment
from jupyter_containers.engine.network import networking
from jupyter_containers.engine.network import record as network_record
from jupyter_containers.engine.network import setup as network_setup
from jupyter_containers.engine.record import ContainerRecord
from jupyter_containers.errors import ContainerNotFound, ContainerNotRunning, Unsupported

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from jupyter_containers.engine.explain.xray import Xray
    from jupyter_containers.engine.network.record import NetworkRecord
    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.engine.views import ContainerSummary, ExecStatus, ProcessTable


class ContainerViews(ContainerFigures):
    """See the module."""

    def execs(self, name: str) -> builtins.list[ExecStatus]:
        """What was started in a running container by :meth:`exec`: of what has ended the last ones."""
        with self._connected(self.record(name)) as process:
            found = process.ask({"kind": "execs"})["execs"]
        return execs.statuses(found)

    def list(
        self,
        *,
        all: bool = False,  # noqa: A002 - docker's flag
        size: bool = False,
    ) -> builtins.list[ContainerSummary]:
        """The running containers, newest first; ``all`` of them with the ended ones. ``size`` measures their files."""
        alive = self._parts.recover()
        rows = self._parts.state.containers(None if all else alive)
        own = network_record.predefined(self._parts.paths.root, self._parts.bridge.name)
        known = {network.name: network.id for network in own}
        found = [
            status.summarize(
                alive.get(row.id) or status.read(self._parts.paths, row.id), ContainerRecord.decode(row.record), known
            )
            for row in rows
        ]
        return [self.measured(row) for row in found] if size else found

    def inspect(self, name: str, *, size: bool = False) -> dict[str, Any]:
        """A container as Docker's ``inspect`` shows it; with ``size`` the bytes of what it has written too."""
        record = self.record(name)
        now = status.read(self._parts.paths, record.id)
        found = document.of(self._parts.paths, record, now, self._networks_of(record))
        if found["State"]["Running"]:
            found["ExecIDs"] = [each.id for each in self._execs_of(record) if each.running] or None
        if size:
            measured = self.measured(status.summarize(status.read(self._parts.paths, record.id), record))
            found |= {"SizeRw": measured.size, "SizeRootFs": measured.virtual_size}
        return found

    def _networks_of(self, record: ContainerRecord) -> builtins.list[NetworkRecord]:
        """The networks that a container is in, with the addresses that they have now."""
        wanted = {each.network for each in record.endpoints}
        found = []
        for each in networking.networks(self._parts):
            if each.id in wanted or (not wanted and each.name == record.network):
                subnet, _, gateway = network_setup.addresses(self._parts, each)
                found.append(msgspec.structs.replace(each, subnet=subnet, gateway=gateway))
        return found

    def top(self, name: str, options: Sequence[str] = ()) -> ProcessTable:
        """Its processes, with the pids of the host; ``options`` are those of the host's ps(1).

        Raises
        ------
        ContainerNotRunning, InvalidInput, Unsupported
            when it does not run, or the options do not work.
        """
        from jupyter_containers.engine.container import processes  # noqa: PLC0415 - seldom used

        record = self.record(name)
        if not self._status(record).running:
            raise not_running(record)
        return processes.table(processes.pids(str(self._parts.paths.containers / record.id)), options)

    def xray(self, name: str) -> Xray:
        """What the kernel keeps of it, beside the host's: namespaces, ids, mounts, capabilities, filter, limits ...

        Of one that does not run, what is known of it. Read from outside; the container is not entered.
        """
        from jupyter_containers.engine.explain.xray import look  # noqa: PLC0415 - seldom used

        return look.take(self._parts, self.record(name))

    def logs(
        self,
        name: str,
        *,
        follow: bool | Callable[[], bool] = False,
        tail: int | None = None,
        since: str | datetime | None = None,
        until: str | datetime | None = None,
    ) -> Iterator[logs.LogEntry]:
        """What it printed, oldest first.

        Parameters
        ----------
        follow
            Go on until it ends, or until the given function, asked often, answers no.
        tail
            The last so many lines only.
        since, until
            Only what was printed in that time: a datetime, or a text as Docker takes it (``10m``, ``2026-01-02``).

        Raises
        ------
        Unsupported
            when its output is kept nowhere (``--log-driver none``).
        """
        record = self.record(name)
        if record.options.log_driver == "none":
            raise Unsupported(f"the output of {record.name} is not kept: its log driver is none")
        path = self._parts.paths.containers / record.id / "log.json"

        wanted = follow if callable(follow) else lambda: True

        def running() -> bool:
            return wanted() and status.read(self._parts.paths, record.id).running

        selection = logs.Selection(tail, moment(since), moment(until))
        entries = logs.read(path, selection, follow=running if follow else None)
        return _until_removed(self._parts, record, entries) if follow and not record.options.remove else entries

    def _execs_of(self, record: ContainerRecord) -> builtins.list[ExecStatus]:
        try:
            return self.execs(record.id)
        except ContainerNotRunning:  # it has ended meanwhile
            return []


def _until_removed(parts: Parts, record: ContainerRecord, entries: Iterator[logs.LogEntry]) -> Iterator[logs.LogEntry]:
    """The entries of a log that is followed; an error at their end when the container was taken away meanwhile."""
    yield from entries
    if not parts.state.find_containers(record.id):
        raise ContainerNotFound(
            f"the container {record.name} was removed while its log was followed",
            hint="what it printed until then stands above",
        )
