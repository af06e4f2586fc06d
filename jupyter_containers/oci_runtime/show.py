"""``state``, ``list`` and ``ps``: what there is."""

from __future__ import annotations

import os
import sys

from jupyter_containers.monitor.record import text
from jupyter_containers.oci_runtime import members, store
from jupyter_containers.oci_runtime.failure import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jupyter_containers.oci_runtime.main import Context
    from jupyter_containers.oci_runtime.store import Container


def state(context: Context) -> int:
    """Print the state of a container, with what runc adds to it."""
    container = store.Container.open(context.root, context.name)
    _print(_described(container))
    return 0


def _described(container: Container) -> dict[str, Any]:
    record = container.record
    return {
        **container.state(),
        "rootfs": record.get("rootfs", ""),
        "created": record.get("created", ""),
        "owner": _user(record.get("owner", -1)),
    }


def _user(uid: int) -> str:
    import pwd  # noqa: PLC0415 - for these two operations only

    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return f"#{uid}"


def _print(value: Any) -> None:
    sys.stdout.write(f"{text(value)}\n")
    sys.stdout.flush()


def listing(context: Context) -> int:
    """Print all containers: as a table, as JSON, or their names."""
    form = context.options.value("format", "table")
    if form not in {"table", "json"}:
        raise CommandError(f"invalid format option {form!r}: table or json")
    found = store.Container.all(context.root)
    if "quiet" in context.options.switches:
        sys.stdout.write("".join(f"{container.name}\n" for container in found))
        return 0
    rows = [_described(container) for container in found]
    if form == "json":
        _print(rows)
        return 0
    titles = ("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")
    _table([titles, *([str(row[title.lower()]) for title in titles] for row in rows)])
    return 0


def _table(rows: list[Any]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        line = "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(f"{line.rstrip()}\n")


def processes(context: Context) -> int:
    """Print a container's processes: their pids as JSON, or what ps(1) says of them."""
    form = context.options.value("format", "table")
    if form not in {"table", "json"}:
        raise CommandError(f"invalid format option {form!r}: table or json")
    container = store.Container.open(context.root, context.name)
    found = members.pids(container)
    if form == "json":
        _print(found)
        return 0
    import subprocess  # noqa: PLC0415 - for people, who wait for ps anyway

    arguments = context.options.arguments[1:] or ["-ef"]
    try:
        done = subprocess.run(
            ["ps", *arguments], stdout=subprocess.PIPE, check=False, env={**os.environ, "LC_ALL": "C"}
        )
    except OSError as error:
        raise CommandError(f"ps: {(error.strerror or '').lower()}") from None
    if done.returncode:
        raise CommandError(f"ps ended with exit status {done.returncode}")
    head, *lines = done.stdout.decode("utf-8", "replace").splitlines()
    if "PID" not in head.split():
        raise CommandError("ps shows no column PID with these options")
    column, wanted = head.split().index("PID"), {str(pid) for pid in found}
    shown = [head, *(line for line in lines if line.split()[column : column + 1] and line.split()[column] in wanted)]
    sys.stdout.write("\n".join(shown) + "\n")
    return 0
