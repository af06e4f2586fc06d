"""``stats`` in a notebook: a table that is replaced with every sample, and the history as a DataFrame."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

from jupyter_containers.notebook import frames
from jupyter_containers.notebook.drawing import stats_plot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jupyter_containers.commands.results import Samples
    from jupyter_containers.engine.views import ContainerStats
    from jupyter_containers.notebook.listing import Listing

    Publish = Callable[[Mapping[str, str], str, bool], None]

_numbers = itertools.count(1)


def watch(samples: Samples, publish: Publish | None) -> Listing:
    """Show every sample until the last one, or until the user interrupts, and give all of them.

    ``publish`` shows HTML under a display id, in the place of what was there if asked to; None: nothing is shown.
    """
    history: list[ContainerStats] = []
    identity = f"container-stats-{os.getpid()}-{next(_numbers)}"
    shown = False
    try:
        for rows in samples.samples:
            history += rows
            if samples.live and publish is not None:
                frame = frames.statistics(rows)
                publish({"text/html": frame._repr_html_(), "text/plain": repr(frame)}, identity, shown)
                shown = True
    except KeyboardInterrupt:
        if not history:
            raise
    if shown and publish is not None:
        publish({"text/html": "", "text/plain": ""}, identity, True)  # the history is shown instead
    frame = frames.statistics(history)
    frame.drawing = stats_plot.picture(history)
    return frame
