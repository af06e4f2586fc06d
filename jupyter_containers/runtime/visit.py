"""A container's first process, born in namespaces that it could not enter itself.

A process that gets a user namespace of its own has no right any more to join others; one that joins a user namespace
has no right over those that were made before; and a time namespace takes its offsets only while nobody is in it.
Imported only for those. Sources: setns(2), user_namespaces(7), time_namespaces(7).
"""

from __future__ import annotations

import os
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_SEQPACKET, socketpair
from errno import EINVAL, EPERM

from jupyter_containers.linux import mount as mounting
from jupyter_containers.linux import namespaces as ns
from jupyter_containers.linux import syscalls
from jupyter_containers.runtime.init import join
from jupyter_containers.runtime.wire import receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable, Mapping

    from jupyter_containers.oci.runtime_spec import TimeOffset
    from jupyter_containers.runtime.plan import Namespaces

    Paths = list[tuple[str, str]]
    Offsets = Mapping[str, TimeOffset]


def clone(wanted: Namespaces, offsets: Offsets, cgroup: int) -> tuple[int, int]:
    """Clone into the namespaces: ``(pid, pidfd)``, or ``(0, -1)`` in the clone. The caller stays in its own."""
    paths = [pair for pair in wanted.join if pair[0] != "pid"]
    if any(kind == "user" for kind, _path in paths):
        return _clone_sibling(lambda: _enter(paths, wanted, offsets), wanted.create, cgroup)
    own: list[tuple[str, int]] = []
    pid, pidfd = -1, -1
    try:
        for kind, path in paths:
            _note(own, kind)
            join(kind, path)
        if wanted.time:
            _note(own, "time")
            _make_time(offsets)
        pid, pidfd = syscalls.clone(wanted.create, cgroup=cgroup)
    finally:
        while own and pid:
            kind, descriptor = own.pop()
            syscalls.setns(descriptor, ns.FLAGS[kind])
            os.close(descriptor)
    return pid, pidfd


def _note(own: list[tuple[str, int]], kind: str) -> None:
    own.append((kind, os.open(f"/proc/self/ns/{ns.FILES[kind]}", os.O_RDONLY | os.O_CLOEXEC)))


def _make_time(offsets: Offsets) -> None:
    from jupyter_containers.runtime.attributes import make_time_namespace  # noqa: PLC0415 - only for these

    make_time_namespace(offsets)


def clone_into(pidfd: int, cgroup: int) -> tuple[int, int]:
    """Clone into the pid namespace of a process, for a caller that could not come back from there.

    That is so in a user namespace: the pid namespace outside belongs to somebody else. ``cgroup`` is a descriptor of
    the clone's cgroup of version 2, or -1.
    """
    return _clone_sibling(lambda: syscalls.setns(pidfd, syscalls.CLONE_NEWPID), 0, cgroup)


def _enter(paths: Paths, wanted: Namespaces, offsets: Offsets) -> None:
    _join_all(paths)
    if wanted.time:
        _make_time(offsets)


def _clone_sibling(enter: Callable[[], None], flags: int, cgroup: int) -> tuple[int, int]:
    """Clone by a child, which enters what there is no way back from, and clones a sibling of itself."""
    near, far = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    helper, helper_pidfd = syscalls.clone(0)
    if helper == 0:
        near.close()
        if _be_helper(far, enter, flags, cgroup):
            return 0, -1
    far.close()
    try:
        message, descriptors = receive(near)
    finally:
        near.close()
        os.close(helper_pidfd)
        os.waitpid(helper, 0)
    if message is None:
        raise OSError(EPERM, "the user namespace cannot be entered")
    if not descriptors:
        raise OSError(message["errno"], message["detail"])
    return _pid_of(descriptors[0]), descriptors[0]


def _be_helper(channel: socket, enter: Callable[[], None], flags: int, cgroup: int) -> bool:
    """Enter, clone, and tell; returns only in the clone, and then true."""
    try:
        enter()
        pid, pidfd = syscalls.clone(flags | syscalls.CLONE_PARENT, cgroup=cgroup)
        if pid == 0:
            channel.close()
            return True
        send(channel, {}, [pidfd])
    except OSError as error:
        send(channel, {"errno": error.errno or EPERM, "detail": error.strerror or "failed"})
    finally:
        if channel.fileno() >= 0:
            os._exit(0)
    return False


def _join_all(paths: Paths) -> None:
    """Join namespaces of the user namespace here, then that of users, then those that belong to it."""
    later = []
    for kind, path in sorted(paths, key=lambda pair: pair[0] == "user"):
        try:
            join(kind, path)
        except PermissionError:
            if kind == "user":
                raise
            later.append((kind, path))
    for kind, path in later:
        join(kind, path)


def _pid_of(pidfd: int) -> int:
    """The pid of a pidfd as this process sees it."""
    with open(f"/proc/self/fdinfo/{pidfd}", encoding="ascii") as file:
        for line in file:
            if line.startswith("Pid:"):
                return int(line.split()[1])
    raise OSError(EPERM, "the process that was cloned is not to be seen here")


def open_in_container(source: str, *, recursive: bool) -> int:
    """A copy of what is mounted at ``/proc/<pid>/root/<path>``: in the mount namespace of that process.

    The kernel copies mounts of the caller's own mount namespace only, open_tree(2).
    """
    _, proc, pid, root, path = source.split("/", 4)
    if (proc, root) != ("proc", "root") or not pid.isdigit():
        raise OSError(EINVAL, f"{source} is no mount of this or another container")
    own: list[tuple[str, int]] = []
    _note(own, "mount")
    try:
        join("mount", f"/proc/{pid}/ns/mnt")
        return mounting.open_tree(syscalls.AT_FDCWD, os.fsencode(f"/{path}"), recursive=recursive)
    finally:
        syscalls.setns(own[0][1], ns.FLAGS["mount"])
        os.close(own[0][1])
