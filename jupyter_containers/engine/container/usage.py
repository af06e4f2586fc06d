"""What containers use, and what is left of them: ``stats``, ``prune``."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from jupyter_containers.engine import status
from jupyter_containers.engine.container.control import Control
from jupyter_containers.engine.record import ContainerRecord
from jupyter_containers.errors import ContainerNotFound, InvalidInput
from jupyter_containers.oci.names import Digest
from jupyter_containers.records import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jupyter_containers.engine.container.history import StatsHistory
    from jupyter_containers.engine.views import ContainerStats, ContainerSummary, PruneReport

SHORTEST = 0.05


class ContainerFigures(Control):
    """See the module. What only these need is imported when one of them is first called."""

    def stats(
        self,
        *names: str,
        all: bool = False,  # noqa: A002 - docker's flag
        interval: float = 1.0,
        count: int | None = None,
    ) -> Iterator[list[ContainerStats]]:
        """What containers use, a list for each moment, for ever or ``count`` times.

        The first list comes after ``interval`` seconds: how much CPU is used takes two looks. One that is iterated
        over for some time is a history::

            history = [row for rows in engine.containers.stats("web", count=60) for row in rows]

        Parameters
        ----------
        names
            Which; without any those that run, also those that are started later.
        all
            Without names: those that do not run as well.

        Raises
        ------
        ContainerNotFound
            at once, when there is no container of a name.
        """
        from jupyter_containers.engine.container import figures  # noqa: PLC0415 - see the class

        return figures.sample(self._parts, self._chooser(names, interval, all=all), interval=interval, count=count)

    def stats_history(self, *names: str, interval: float = 1.0, keep: int = 3600) -> StatsHistory:
        """Keep what containers use, the latest ``keep`` moments, in the background::

            with engine.containers.stats_history("web", interval=0.5) as history:
                ...
            history.frame()

        It goes on when a container ends, and takes it up again when it was started again. A notebook draws it.

        Parameters
        ----------
        names
            Which; without any those that run, also those that are started later.
        interval
            Seconds between two moments.

        Raises
        ------
        ContainerNotFound, InvalidInput
            at once.
        """
        from jupyter_containers.engine.container import figures  # noqa: PLC0415 - see the class
        from jupyter_containers.engine.container.history import StatsHistory  # noqa: PLC0415 - the same

        if keep < 1:
            raise InvalidInput(f"{keep} moments cannot be kept", hint="at least 1")
        choose, parts = self._chooser(names, interval, all=False), self._parts

        def sampling(pause: Callable[[float], object]) -> Iterator[list[ContainerStats]]:
            return figures.sample(parts, choose, interval=interval, count=None, pause=pause)

        def ended(history: StatsHistory) -> None:
            if history.stop in parts.closing:
                parts.closing.remove(history.stop)

        history = StatsHistory(sampling, interval=interval, keep=keep, ended=ended)
        parts.closing.append(history.stop)
        return history

    def _chooser(
        self,
        names: Sequence[str],
        interval: float,
        *,
        all: bool,  # noqa: A002 - docker's flag
    ) -> Callable[[], list[ContainerRecord]]:
        if interval < SHORTEST:
            raise InvalidInput(f"the interval is {interval} s", hint=f"at least {SHORTEST} s")
        chosen = [self.record(name).id for name in names]

        def choose() -> list[ContainerRecord]:
            if not chosen:
                return self._listed(all=all)
            found = []
            for identity in chosen:
                with suppress(ContainerNotFound):
                    found.append(self.record(identity))
            return found

        return choose

    def measured(self, row: ContainerSummary) -> ContainerSummary:
        """A row of ``ps`` with the bytes of what the container has written, and of that with its image."""
        parts = self._parts
        upper = parts.paths.containers / row.id / "upper"
        infos = [parts.snapshotter.info(Digest(chain)) for chain in row.layers]
        image = sum(info.bytes for info in infos if info is not None)
        size = parts.trees.usage(upper).bytes if os.path.lexists(upper) else 0
        if not parts.snapshotter.layered and size:
            size = max(0, size - image)  # its directory is a copy of the image with what it has written
        return replace(row, size=size, virtual_size=size + image)

    def prune(self, *, filters: Sequence[str] = ()) -> PruneReport:
        """Remove the containers that do not run, unless another process is just busy with one.

        Parameters
        ----------
        filters
            Only those that match all: ``until=24h`` (made before), ``label=KEY[=VALUE]``, ``label!=KEY[=VALUE]``.

        Raises
        ------
        InvalidInput
            for another filter.
        """
        from jupyter_containers.engine import pruning  # noqa: PLC0415 - see the class

        return pruning.containers(self._parts, pruning.matcher(filters))

    def _listed(self, *, all: bool) -> list[ContainerRecord]:  # noqa: A002 - docker's flag
        """All containers, or those that run, newest first."""
        wanted = None if all else os.listdir(self._parts.paths.running)
        records = [ContainerRecord.decode(row.record) for row in self._parts.state.containers(wanted)]
        return [record for record in records if all or status.read(self._parts.paths, record.id).running]
