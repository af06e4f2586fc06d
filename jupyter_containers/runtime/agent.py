"""Handing a container's seccomp listener to the agent that answers for it.

Source: OCI runtime specification, config-linux.md "The Container Process State". Imported only for containers with one.
"""

from __future__ import annotations

import os
from _socket import AF_UNIX, MSG_NOSIGNAL, SCM_RIGHTS, SOCK_CLOEXEC, SOCK_STREAM, SOL_SOCKET, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PATIENCE = 10.0


def introduce(agent: dict[str, str], state: dict[str, Any], pid: int, listener: int) -> None:
    """Send the agent the container's state and the pid of the process with its listener, on a connection of its own.

    Raises
    ------
    OSError
        Nobody listens at its socket, or does not take what is sent within ten seconds.
    """
    import json  # noqa: PLC0415 - few containers have an agent

    message: dict[str, Any] = {"ociVersion": state["ociVersion"], "fds": ["seccompFd"], "pid": pid}
    if agent["metadata"]:
        message["metadata"] = agent["metadata"]
    message["state"] = state
    channel = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
    channel.settimeout(_PATIENCE)
    try:
        channel.connect(agent["path"])
        data = json.dumps(message).encode()
        sent = channel.sendmsg([data], [(SOL_SOCKET, SCM_RIGHTS, listener.to_bytes(4, "little"))], MSG_NOSIGNAL)
        channel.sendall(data[sent:])
    except TimeoutError:
        raise OSError(110, f"linux.seccomp.listenerPath: {agent['path']}: the agent does not answer") from None
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise OSError(error.errno, f"linux.seccomp.listenerPath: {agent['path']}: {reason}") from None
    finally:
        channel.close()
