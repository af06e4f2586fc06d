"""Which namespaces a container has: ``--pid``, ``--ipc``, ``--uts``, ``--cgroupns``, ``--userns``.

Sources: docs.docker.com, "docker run", "PID settings" and its neighbours; user_namespaces(7); podman-run(1).
"""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

import msgspec

from jupyter_containers.errors import Conflict, InvalidInput, Unsupported
from jupyter_containers.linux.namespaces import parse_subids
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jupyter_containers.engine.options import RunOptions
    from jupyter_containers.oci.runtime_spec import IdMapping, Mount, Namespace
    from jupyter_containers.runtime.idmap import IdMap

HOST = "host"
_OF = "container:"
_REMAP = "remap"
_REMAP_USERS = ("dockremap", "containers")

# Option, what it may be besides "container:NAME" where that is allowed, and what Docker calls it.
_MODES = (
    ("pid", ("", "private", HOST), True, "PID"),
    ("ipc", ("", "private", "shareable", "none", HOST), True, "IPC"),
    ("uts", ("", "private", HOST), False, "UTS"),
    ("cgroupns", ("", "private", HOST), False, "CGROUP"),
)


@dataclass(frozen=True, slots=True)
class NamespaceSetup:
    """The namespaces of a specification, and what follows from them.

    Attributes
    ----------
    namespaces
        Those to make, and with a path those to join.
    uids, gids
        The ids of a user namespace of the container's own; empty without one.
    proc, shm
        What is mounted on ``/proc`` and ``/dev/shm`` instead of a new file system; ``shm`` is None where nothing is.
    user
        Who the program runs as unless an option or the image says so.
    remaps
        Whether the files of the image belong to other ids than on disk.
    """

    namespaces: tuple[Namespace, ...]
    uids: tuple[IdMapping, ...] = ()
    gids: tuple[IdMapping, ...] = ()
    proc: Mount | None = None
    shm: Mount | None = None
    own_shm: bool = True
    user: str = ""
    remaps: bool = False

    def root(self, mounts: Sequence[Mount]) -> list[Mount]:
        """The mounts of a root file system, under the ids of the container where root's layers have other ones."""
        if not self.remaps:
            return list(mounts)
        first: Mount = {**mounts[0], "options": [*mounts[0]["options"], "idmap"]}
        return [first, *mounts[1:]]

    def has(self, kind: str) -> bool:
        """Whether the container has a namespace of this kind other than the host's."""
        return any(namespace["type"] == kind for namespace in self.namespaces)


def settle(options: RunOptions, identify: Callable[[str], str]) -> RunOptions:
    """Check the modes and put ids in the place of the names of containers.

    Raises
    ------
    InvalidInput
        for a mode there is not.
    ContainerNotFound
        for a container there is not (from ``identify``).
    """
    changed: dict[str, str] = {}
    for name, known, containers, called in _MODES:
        mode = getattr(options, name) or ""
        if containers and mode.startswith(_OF) and mode != _OF:
            changed[name] = _OF + identify(mode.removeprefix(_OF))
        elif mode not in known:
            more = ", container:NAME" if containers else ""
            allowed = ", ".join(word for word in known if word)
            raise InvalidInput(f"--{name}: invalid {called} mode {mode!r}", hint=f"use {allowed}{more}")
    if options.uts == HOST and (options.hostname is not None or options.domainname is not None):
        raise InvalidInput(
            "conflicting options: hostname and the UTS mode", hint="leave --hostname and --domainname out, or --uts"
        )
    if changed and options.restart not in {None, "no"}:
        raise InvalidInput(
            f"--restart cannot be had with --{min(changed)} {_OF}NAME: the other container may be another one by then",
            hint="leave one of them out",
        )
    return msgspec.structs.replace(options, **changed) if changed else options


def check_user(options: RunOptions, network: str, *, rootless: bool) -> None:
    """Refuse a user namespace that this user, or the other options, do not allow.

    Raises
    ------
    InvalidInput, Unsupported
        naming the option.
    """
    mode = options.userns or ""
    if mode in {"", HOST}:
        return
    if mode == "keep-id":
        if not rootless or os.getuid() == 0:
            raise Unsupported("--userns keep-id is for ordinary users: root has no id to keep", hint="use remap")
    elif mode == _REMAP or mode.startswith(f"{_REMAP}:"):
        if rootless:
            raise Unsupported(
                "--userns remap needs root; an ordinary user's containers are in a user namespace already",
                hint="leave it out, or use --userns keep-id",
            )
        remapped(mode)
    else:
        raise InvalidInput(f"--userns: invalid USER mode {mode!r}", hint="use host, remap, remap:USER or keep-id")
    if options.privileged:
        raise InvalidInput(
            "privileged mode is incompatible with a user namespace of the container's own", hint="use --userns host"
        )
    for name, value in (("network", network), ("pid", options.pid), ("ipc", options.ipc)):
        if value == HOST or (value or "").startswith(_OF):
            raise InvalidInput(
                f"--{name} {value} cannot be had with --userns {mode}: it belongs to another user namespace"
            )


def remapped(mode: str) -> tuple[tuple[IdMapping, ...], tuple[IdMapping, ...]]:
    """The subordinate ids that ``remap`` gives to a container: those of a user in /etc/subuid and /etc/subgid.

    Raises
    ------
    Unsupported
        when there are none; the hint has the command that makes them.
    """
    wanted = mode.partition(":")[2]
    names = (wanted,) if wanted else _REMAP_USERS
    for name in names:
        found = [_ranges(path, name) for path in ("/etc/subuid", "/etc/subgid")]
        if found[0] and found[1]:
            return _mapping(found[0]), _mapping(found[1])
    name = names[0]
    raise Unsupported(
        f"--userns {mode}: /etc/subuid and /etc/subgid have no range for {' or '.join(names)}",
        hint=f"echo {name}:100000:65536 | sudo tee -a /etc/subuid /etc/subgid",
    )


def _ranges(path: str, name: str) -> list[tuple[int, int]]:
    try:
        number = pwd.getpwnam(name).pw_uid
    except KeyError:
        number = -1
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return parse_subids(file.read(), name=name, number=number)
    except FileNotFoundError:
        return []


def _mapping(ranges: Sequence[tuple[int, int]]) -> tuple[IdMapping, ...]:
    made: list[IdMapping] = []
    inside = 0
    for first, count in ranges:
        made.append({"containerID": inside, "hostID": first, "size": count})
        inside += count
    return tuple(made)


def _kept(own: int, ranges: Sequence[tuple[int, int, int]]) -> tuple[IdMapping, ...]:
    """The user's own id as itself: 0 of the outer namespace, which is the user, becomes ``own``.

    The others move down by one below it, and keep their place above.
    """
    last = max(inside + count for inside, _outside, count in ranges) - 1
    pieces = [(own, 0, 1)]
    if last > 0:
        below = min(own, last)
        pieces += [(0, 1, below)] if below else []
        pieces += [(own + 1, own + 1, last - own)] if last > own else []
    return tuple({"containerID": inside, "hostID": outside, "size": count} for inside, outside, count in pieces)


def setup(
    options: RunOptions,
    network: str,
    *,
    id_map: IdMap | None = None,
    pid_of: Callable[[str], int] | None = None,
) -> NamespaceSetup:
    """The namespaces of a container that is about to be started.

    Parameters
    ----------
    id_map
        The ids of the user namespace that an ordinary user's containers are in; None for root.
    pid_of
        The pid of a running container's first process, by id.

    Raises
    ------
    ContainerNotRunning
        from ``pid_of``.
    """
    kinds: list[Namespace] = [{"type": "mount"}]

    def add(kind: str, mode: str, of: str = "") -> None:
        if mode.startswith(_OF):
            assert pid_of is not None
            kinds.append({"type": kind, "path": f"/proc/{pid_of(mode.removeprefix(_OF))}/ns/{of or kind}"})  # type: ignore[typeddict-item]  # called with names of namespaces
        elif mode != HOST:
            kinds.append({"type": kind})  # type: ignore[typeddict-item]  # the same

    ipc = options.ipc or ""
    add("pid", options.pid or "")
    add("uts", options.uts or "")
    add("ipc", ipc)
    add("cgroup", options.cgroupns or "")
    add("network", network, "net")
    uids: tuple[IdMapping, ...] = ()
    gids: tuple[IdMapping, ...] = ()
    user = ""
    mode = options.userns or ""
    if mode.startswith(_REMAP):
        uids, gids = remapped(mode)
    elif mode == "keep-id" and id_map is not None:
        uid, gid = os.getuid(), os.getgid()
        uids, gids = _kept(uid, id_map.uids), _kept(gid, id_map.gids)
        user = f"{uid}:{gid}"
    if uids:
        kinds.append({"type": "user"})
    return NamespaceSetup(
        tuple(kinds),
        uids,
        gids,
        proc=_proc(options, in_user_namespace=bool(uids) or id_map is not None),
        shm=_shm(ipc, pid_of),
        own_shm=ipc in {"", "private", "shareable"},
        user=user,
        remaps=mode.startswith(_REMAP),
    )


def _proc(options: RunOptions, *, in_user_namespace: bool) -> Mount | None:
    """The host's /proc bound, where the kernel lets a user namespace mount none of a pid namespace it does not own."""
    if options.pid != HOST or not in_user_namespace:
        return None
    return {
        "destination": "/proc",
        "type": "none",
        "source": "/proc",
        "options": ["rbind", "nosuid", "noexec", "nodev"],
    }


def _shm(ipc: str, pid_of: Callable[[str], int] | None) -> Mount | None:
    """The shared memory of the host or of another container bound; None where it is new, or where there is none."""
    if ipc == HOST:
        source = "/dev/shm"  # noqa: S108 - a mount point, not a file name
    elif ipc.startswith(_OF) and pid_of is not None:
        source = f"/proc/{pid_of(ipc.removeprefix(_OF))}/root/dev/shm"
    else:
        return None
    return {
        "destination": "/dev/shm",  # noqa: S108 - the same
        "type": "none",
        "source": source,
        "options": ["rbind", "nosuid", "noexec", "nodev"],
    }


def check_joinable(options: RunOptions, other: RunOptions, name: str) -> None:
    """Refuse to share the memory of a container that keeps it for itself, or one in a user namespace of its own.

    Raises
    ------
    Conflict
        naming the container.
    """
    if (options.ipc or "").startswith(_OF) and other.ipc in {"private", "none"}:
        raise Conflict(f"cannot join IPC of {name}: it is {other.ipc}", hint=f"run {name} with --ipc shareable")
    if other.userns not in {None, "", HOST}:
        raise Conflict(f"cannot join a namespace of {name}: it has a user namespace of its own")
