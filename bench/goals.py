"""What the runtime is to reach against other engines, and whether it does in this run."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_NETWORK = "run /bin/true, no network"
NO_NETWORK_QUIET = "the same, each after 30 ms of quiet"
NETWORK = "run /bin/true, default network"
NETWORK_QUIET = "the same, each after 30 ms of quiet "
EXEC = "exec /bin/true in a running container"
AT_ONCE = "100 runs at once, ours with the default network"
_OURS, _COMMAND = "ours", "ours, new process"


class Goal(NamedTuple):
    """``ours`` and ``other`` are engine and row; ``most`` is their quotient's limit."""

    text: str
    ours: tuple[str, str]
    other: tuple[str, str]
    most: float


GOALS = (
    Goal("no network, back to back: 0.8 x crun", (_OURS, NO_NETWORK), ("crun", NO_NETWORK), 0.8),
    Goal("no network, after quiet: 0.5 x crun", (_OURS, NO_NETWORK_QUIET), ("crun", NO_NETWORK_QUIET), 0.5),
    Goal("default network, back to back: 1.0 x crun without", (_OURS, NETWORK), ("crun", NO_NETWORK), 1.0),
    Goal("default network, after quiet: 1.0 x crun without", (_OURS, NETWORK_QUIET), ("crun", NO_NETWORK_QUIET), 1.0),
    Goal("default network, back to back: 1/25 of docker", (_OURS, NETWORK), ("docker", NETWORK), 1 / 25),
    Goal("default network, after quiet: 1/25 of docker", (_OURS, NETWORK_QUIET), ("docker", NETWORK_QUIET), 1 / 25),
    Goal("exec: 0.6 x crun", (_OURS, EXEC), ("crun", EXEC), 0.6),
    Goal("100 at once: 1/1.1 of crun's time", (_OURS, AT_ONCE), ("crun", AT_ONCE), 1 / 1.1),
    Goal("a new process: 1/3 of docker", (_COMMAND, NO_NETWORK), ("docker", NO_NETWORK), 1 / 3),
)


def table(medians: Mapping[tuple[str, str], float]) -> str:
    """A Markdown table of the goals whose both sides were measured."""
    lines = ["| to reach, at most | measured | reached |", "| --- | ---: | --- |"]
    for goal in GOALS:
        if goal.ours in medians and goal.other in medians:
            quotient = medians[goal.ours] / medians[goal.other]
            shown = f"{quotient:.2f} x" if goal.most >= 0.5 else f"1/{1 / quotient:.1f}"
            lines.append(f"| {goal.text} | {shown} | {'yes' if quotient <= goal.most else 'no'} |")
    return "\n".join(lines)
