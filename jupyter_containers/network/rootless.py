"""The way out of the network namespace that an ordinary user's containers share: pasta or slirp4netns.

They carry its packets over ordinary sockets of the user. Each attaches a device in the namespace, for which it opens
``/dev/net/tun``. Where that may not be opened there is no way out, and the result says so. A watcher of a few megabytes
starts the helper and ends it with the namespace's holder, since not every version of either does so itself.

The host's own loopback addresses cannot be reached through them.

Sources: passt(1), slirp4netns(1).
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time

from jupyter_containers.errors import SystemFailure, Timeout
from jupyter_containers.linux.namespaces import in_user_namespace
from jupyter_containers.network.base import Connection
from jupyter_containers.runtime import idmap

ADDRESS, GATEWAY, NAME_SERVER = "10.0.2.100", "10.0.2.2", "10.0.2.3"
DEVICE = "eth0"
TUN = "/dev/net/tun"
HELPERS = ("pasta", "slirp4netns")

_MTU = "65520"
_POLL = 0.005  # seconds between looks whether the helper is ready
_watchers: set[int] = set()


def connect(pid: int, *, helper: str | None = None, timeout: float = 10.0, tun: str = TUN) -> Connection:
    """Give the network namespace of a process a way out; takes some 50 ms with pasta, 20 with slirp4netns.

    Parameters
    ----------
    pid
        A process of this user in a network namespace of its own. The helper ends with it.
    helper
        ``pasta`` or ``slirp4netns``; None for the first one that is installed.
    timeout
        Seconds to wait until packets can pass.
    tun
        The device the helpers open.

    Returns
    -------
    The connection. Without a helper or its device it has loopback only, and a notice.

    Raises
    ------
    SystemFailure
        The helper gave up; the message is its own.
    Timeout
        It was not ready in time, and was ended.
    """
    missing = unavailable(helper, tun=tun)
    if missing:
        return Connection("none", notice=missing)
    name, path = _find(helper)
    _reap()
    watcher, errors = _start(pid, _command(name, path, pid))
    try:
        _wait(pid, watcher, errors, name, timeout)
    except BaseException:
        _end(watcher)
        raise
    finally:
        os.close(errors)
    _watchers.add(watcher)
    return Connection(name, ADDRESS, GATEWAY, NAME_SERVER)


def unavailable(helper: str | None = None, *, tun: str = TUN) -> str:
    """Why rootless containers have no way out on this host, with the remedy, one line; empty if they do."""
    if not _find(helper)[0]:
        names = helper or "neither pasta nor slirp4netns"
        verb = "is not" if helper else "is"
        return f"the container has no way to other machines: {names} {verb} installed (sudo apt-get install passt)"
    try:
        os.close(os.open(tun, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK))
    except OSError as error:
        why = os.strerror(error.errno or 0)
        return f"the container has no way to other machines: {tun}: {why} (sudo chmod 666 {tun})"
    return ""


def _find(helper: str | None) -> tuple[str, str]:
    names = (helper,) if helper else HELPERS
    if not helper and idmap.is_privileged() and in_user_namespace():
        # The container is in the very user namespace this process is root of, which pasta cannot deal with.
        names = ("slirp4netns",)
    import shutil  # noqa: PLC0415 - root needs no helper

    for name in names:
        path = shutil.which(name)
        if path:
            return name, path
    return "", ""


def _command(name: str, path: str, pid: int) -> list[str]:
    if name == "slirp4netns":
        options = ["--configure", f"--mtu={_MTU}", "--disable-host-loopback", "--cidr=10.0.2.0/24"]
        return [path, *options, str(pid), DEVICE]
    options = [
        "--foreground",
        "--quiet",
        "--config-net",
        "--no-netns-quit",
        "--ipv4-only",
        "--no-map-gw",
        "--mtu",
        _MTU,
    ]
    # pasta would otherwise give the container the host's own address, and the host could not be reached from it
    options += ["--address", ADDRESS, "--netmask", "24", "--gateway", GATEWAY, "--dns-forward", NAME_SERVER]
    options += ["--ns-ifname", DEVICE]
    for way in ("--tcp-ports", "--udp-ports", "--tcp-ns", "--udp-ns"):
        options += [way, "none"]
    if os.geteuid() == 0:
        # In a container whose root has no privileges, or in a user namespace. pasta would become nobody, who may not.
        options += ["--runas", "0:0"]
    return [path, *options, str(pid)]


def _start(pid: int, command: list[str]) -> tuple[int, int]:
    """Start the watcher in a session of its own; its pid, and a file in memory with the helper's error messages.

    Not a pipe: a helper that goes on writing when nobody reads any more would be killed.
    """
    script = os.path.join(os.path.dirname(__file__), "helper_watch.py")
    errors = os.memfd_create("messages", os.MFD_CLOEXEC)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        watcher = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", script, str(pid), *command],
            {"PATH": os.environ.get("PATH", os.defpath)},
            setsid=True,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, null, 0),
                (os.POSIX_SPAWN_DUP2, null, 1),
                (os.POSIX_SPAWN_DUP2, errors, 2),
            ],
        )
    except BaseException:
        os.close(errors)
        raise
    finally:
        os.close(null)
    return watcher, errors


def _wait(pid: int, watcher: int, errors: int, name: str, timeout: float) -> None:
    """Until the namespace has a default route, which both helpers set last."""
    deadline = time.monotonic() + timeout
    while not connected(pid):
        if _ended(watcher):
            text = os.pread(errors, 4096, 0).decode(errors="replace").strip()
            last = (text.splitlines() or ["it ended without a word"])[-1]
            raise SystemFailure(f"{name} could not connect the container: {last}")
        if time.monotonic() >= deadline:
            raise Timeout(f"{name} did not connect the container within {timeout:g} s")
        time.sleep(_POLL)


def connected(pid: int) -> bool:
    """Whether there is a default route in the network namespace of a process (proc_pid_net(5))."""
    try:
        with open(f"/proc/{pid}/net/route", "rb") as file:
            lines = file.read().splitlines()[1:]
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ESRCH, errno.EINVAL}:
            raise SystemFailure(f"process {pid} ended before its network was ready") from error
        raise
    return any(line.split()[1] == b"00000000" for line in lines)


def _end(watcher: int) -> None:
    """End a watcher, and with it its helper."""
    try:
        os.kill(watcher, signal.SIGTERM)
        os.waitpid(watcher, 0)
    except (ProcessLookupError, ChildProcessError):
        return  # it ended by itself and was reaped


def _ended(watcher: int) -> bool:
    """Whether a watcher has ended; if so it is reaped."""
    try:
        return os.waitpid(watcher, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


def _reap() -> None:
    """Take leave of the watchers that ended with their containers."""
    _watchers.difference_update([watcher for watcher in tuple(_watchers) if _ended(watcher)])
