"""System calls that Python's ``os`` does not have, for x86_64 and aarch64.

All functions raise :class:`OSError` with the kernel's errno. The C library is loaded as :class:`ctypes.PyDLL`, so that
the interpreter lock stays held over a call: a child made by :func:`clone` must come back holding it.

Sources: the man pages of section 2 and the kernel's ``include/uapi`` and system call tables.
"""

from __future__ import annotations

import ctypes
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    # a number, a C string, a buffer, or the null pointer
    Argument = int | bytes | ctypes.Array[ctypes.c_char] | ctypes.Array[ctypes.c_uint64] | None

CLONE_PIDFD = 0x00001000
CLONE_PARENT = 0x00008000
CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_INTO_CGROUP = 0x200000000

SIGCHLD = 17

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4

CLOSE_RANGE_CLOEXEC = 4

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
RENAME_EXCHANGE = 2

SECCOMP_SET_MODE_FILTER = 1
KEYCTL_JOIN_SESSION_KEYRING = 1
PROC_SUPER_MAGIC = 0x9FA0
FUTURE_FD = 0xFFFFFFFF

_CAPABILITY_VERSION_3 = 0x20080522
_ENOSYS = 38

# Numbers above 423 are the same on all architectures; those below are (x86_64, aarch64).
_BY_MACHINE = {
    "clone": (56, 220),
    "pivot_root": (155, 41),
    "seccomp": (317, 277),
    "capget": (125, 90),
    "capset": (126, 91),
    "setns": (308, 268),
    "unshare": (272, 97),
    "mount": (165, 40),
    "umount2": (166, 39),
    "prctl": (157, 167),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "keyctl": (250, 219),
    "fstatfs": (138, 44),
    "setfsuid": (122, 151),
    "setfsgid": (123, 152),
    "personality": (135, 92),
    "set_mempolicy": (238, 237),
    "ioprio_set": (251, 30),
    "sched_setattr": (314, 274),
    "renameat2": (316, 276),
    "syncfs": (306, 267),
    "madvise": (28, 233),
    "rt_sigaction": (13, 134),
}
_COMMON = {
    "pidfd_send_signal": 424,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "clone3": 435,
    "close_range": 436,
    "openat2": 437,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
}


def numbers(machine: str) -> dict[str, int]:
    """The system call numbers of an architecture as ``uname -m`` names it.

    Raises
    ------
    OSError
        ENOSYS, for an architecture other than x86_64 and aarch64.
    """
    machines = {"x86_64": 0, "amd64": 0, "aarch64": 1, "arm64": 1}
    if machine not in machines:
        raise OSError(_ENOSYS, f"system call numbers of {machine} are not known")
    column = machines[machine]
    return {name: pair[column] for name, pair in _BY_MACHINE.items()} | _COMMON


NUMBERS = numbers(os.uname().machine)

_libc = ctypes.PyDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [ctypes.c_long] + [ctypes.c_void_p] * 6


def call(name: str, *arguments: Argument) -> int:
    """Make a system call of up to six arguments and return its result, or raise OSError."""
    padded = arguments + (0,) * (6 - len(arguments))
    result: int = _syscall(NUMBERS[name], *padded)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def clone(flags: int, *, cgroup: int = -1) -> tuple[int, int]:
    """Fork into new namespaces: ``(pid, pidfd)`` in the parent, ``(0, -1)`` in the child.

    Only for a process with one thread. clone3(2), or clone(2) where a seccomp filter answers ENOSYS, as Docker's does.

    Parameters
    ----------
    flags
        ``CLONE_NEW*``, and CLONE_PARENT for a child of this process's parent; CLONE_PIDFD is added.
    cgroup
        A descriptor of a cgroup v2 directory the child is born in (CLONE_INTO_CGROUP), or -1.
    """
    pidfd = ctypes.c_int(-1)
    address = ctypes.addressof(pidfd)
    flags |= CLONE_PIDFD
    arguments = (ctypes.c_uint64 * 11)()
    arguments[0], arguments[1] = flags, address
    arguments[4] = 0 if flags & CLONE_PARENT else SIGCHLD  # a sibling has the signal of its maker
    if cgroup >= 0:
        arguments[0] |= CLONE_INTO_CGROUP
        arguments[10] = cgroup
    try:
        pid = call("clone3", arguments, ctypes.sizeof(arguments))
    except OSError as error:
        if error.errno != _ENOSYS or cgroup >= 0 or flags & CLONE_NEWTIME:
            raise
        pid = call("clone", flags | SIGCHLD, 0, address, 0, 0)
    return (pid, pidfd.value) if pid else (0, -1)


def default_action(signal: int) -> None:
    """Have a signal do what it does by itself, rt_sigaction(2): also 32 and 33, which the C library keeps."""
    action = (ctypes.c_uint64 * 4)()  # struct kernel_sigaction: SIG_DFL, no flags, an empty mask
    call("rt_sigaction", signal, action, 0, ctypes.sizeof(ctypes.c_uint64))


def unshare(flags: int) -> None:
    """Put this process into new namespaces, unshare(2)."""
    call("unshare", flags)


def setns(descriptor: int, flags: int) -> None:
    """Join a namespace by its descriptor, or several by a pidfd, setns(2)."""
    call("setns", descriptor, flags)


def pidfd_send_signal(pidfd: int, signal: int) -> None:
    """Send a signal to the process of a pidfd; ESRCH when it is gone."""
    call("pidfd_send_signal", pidfd, signal, 0, 0)


def prctl(option: int, first: int | bytes = 0, second: int = 0) -> int:
    """prctl(2)."""
    return call("prctl", option, first, second, 0, 0)


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set this thread's capability sets, each a bit mask, capset(2)."""
    header = (ctypes.c_uint64 * 1)(_CAPABILITY_VERSION_3)  # low half the version, high half pid 0
    low, high = 0xFFFFFFFF, 32
    words = [effective & low, permitted & low, inheritable & low]
    words += [effective >> high, permitted >> high, inheritable >> high]
    data = b"".join(word.to_bytes(4, "little") for word in words)
    call("capset", header, data)


def permitted_capabilities() -> int:
    """Permitted capabilities of this thread as a bit mask, capget(2)."""
    header = (ctypes.c_uint64 * 1)(_CAPABILITY_VERSION_3)
    data = (ctypes.c_uint64 * 3)()
    call("capget", header, data)
    # two struct cap_user_data of three 32-bit words: effective, permitted, inheritable
    words = bytes(data)
    return int.from_bytes(words[4:8], "little") | int.from_bytes(words[16:20], "little") << 32


def close_range(first: int, last: int = FUTURE_FD, flags: int = 0) -> None:
    """Close descriptors, or with CLOSE_RANGE_CLOEXEC mark them, both ends included."""
    call("close_range", first, last, flags)


def close_except(keep: list[int]) -> None:
    """Close all descriptors from 3 on but those in ``keep``."""
    first = 3
    for descriptor in sorted(keep):
        if descriptor > first:
            close_range(first, descriptor - 1)
        first = max(first, descriptor + 1)
    close_range(first)


def openat2(directory: int, path: bytes, flags: int, *, resolve: int, mode: int = 0) -> int:
    """Open a path under rules of resolution, openat2(2). The descriptor is close-on-exec."""
    how = (ctypes.c_uint64 * 3)(flags | os.O_CLOEXEC, mode, resolve)
    return call("openat2", directory, path, how, ctypes.sizeof(how))


def exchange(first: bytes, second: bytes) -> None:
    """Let two paths of one file system change places, at once, renameat2(2)."""
    call("renameat2", AT_FDCWD, first, AT_FDCWD, second, RENAME_EXCHANGE)


def sync_file_system(path: str) -> None:
    """Have everything written that the file system of a directory still keeps in memory, syncfs(2)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        call("syncfs", descriptor)
    finally:
        os.close(descriptor)


def load_seccomp(program: bytes, flags: int = 0) -> int:
    """Install a seccomp filter, an array of ``struct sock_filter``, for this thread and what it becomes.

    Returns 0, or with SECCOMP_FILTER_FLAG_NEW_LISTENER a descriptor, close-on-exec, for the filter's notifications.
    EACCES without no_new_privs and without CAP_SYS_ADMIN; EINVAL for a flag the kernel does not know.
    """
    buffer = ctypes.create_string_buffer(program, len(program))
    fprog = (ctypes.c_uint64 * 2)(len(program) // 8, ctypes.addressof(buffer))
    return call("seccomp", SECCOMP_SET_MODE_FILTER, flags, fprog)


def pidfd_getfd(pidfd: int, number: int) -> int:
    """A copy of another process's descriptor, pidfd_getfd(2), Linux 5.6; EBADF where it has none of that number."""
    return call("pidfd_getfd", pidfd, number, 0)


def join_session_keyring() -> None:
    """Give this process an empty session keyring of its own instead of the one it inherited, keyctl(2).

    EDQUOT where the user's quota of keys is used up (``/proc/sys/kernel/keys/maxkeys``), ENOSYS and EPERM where there
    are no keys or where an outer filter keeps them from this process and its children.
    """
    call("keyctl", KEYCTL_JOIN_SESSION_KEYRING, 0)


def become_for_files(uid: int, gid: int) -> None:
    """Have files this thread makes belong to somebody else, and keep all capabilities, setfsuid(2).

    Leaving uid 0 takes the capabilities over files out of the effective set, so that is made whole again.
    """
    permitted = permitted_capabilities()
    call("setfsgid", gid)
    call("setfsuid", uid)
    capset(permitted, permitted, 0)


def file_system_type(descriptor: int) -> int:
    """The magic number of the file system of an open file, fstatfs(2)."""
    buffer = ctypes.create_string_buffer(120)  # struct statfs
    call("fstatfs", descriptor, buffer)
    return int.from_bytes(buffer.raw[:8], sys.byteorder)


def sethostname(name: bytes) -> None:
    """Set the host name of this UTS namespace."""
    call("sethostname", name, len(name))


def setdomainname(name: bytes) -> None:
    """Set the NIS domain name of this UTS namespace."""
    call("setdomainname", name, len(name))
