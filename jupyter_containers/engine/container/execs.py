"""Another process in a running container: what the monitor is asked for, and what it knows of those that were."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from jupyter_containers.engine.launch.isolation import sandboxing
from jupyter_containers.engine.options import merge_environment, resolve_environment
from jupyter_containers.engine.views import ExecStatus
from jupyter_containers.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_containers.engine.options import ExecKeywords
    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.engine.record import ContainerRecord
    from jupyter_containers.runtime.protocol import ExecRequest


def request(parts: Parts, record: ContainerRecord, command: Sequence[str], keywords: ExecKeywords) -> ExecRequest:
    """A command with the environment, the user and the isolation of its container, as far as nothing else is given.

    Raises
    ------
    InvalidInput
        for no command, or a working directory that is not absolute.
    """
    env, workdir = keywords.get("env", ()), keywords.get("workdir")
    tty = keywords.get("tty", False)
    if not command:
        raise InvalidInput("exec needs a command")
    if workdir is not None and not workdir.startswith("/"):
        raise InvalidInput(f"the working directory {workdir!r} is not an absolute path")
    given = [f"{key}={value}" for key, value in env.items()] if hasattr(env, "items") else list(env)
    privileged = record.options.privileged or keywords.get("privileged", False)
    isolation = sandboxing(
        msgspec.structs.replace(record.options, privileged=privileged), guards_devices=parts.host.guards_devices
    )
    names = isolation.capabilities
    return {
        "process": {
            "terminal": tty,
            "args": list(command),
            "env": merge_environment(["TERM=xterm"] if tty else [], record.env, resolve_environment(given)),
            "cwd": workdir or record.cwd,
            "capabilities": {"bounding": names, "effective": names, "permitted": names},
            "noNewPrivileges": isolation.no_new_privileges,
        },
        "user": (keywords.get("user") or record.user) or None,
        "seccomp": parts.planner.filter(isolation),
        "seccomp_flags": parts.planner.filter_flags(isolation),
        "exec_id": os.urandom(32).hex(),
    }


def statuses(found: Sequence[dict[str, Any]]) -> list[ExecStatus]:
    """What the monitor knows of each."""
    return [
        ExecStatus(
            id=each["id"],
            command=tuple(each["args"]),
            user=each["user"],
            terminal=each["terminal"],
            running=each["running"],
            exit_code=each["code"],
            pid=each["pid"] or None,
        )
        for each in found
    ]
