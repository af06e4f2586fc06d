"""What a hostile program tries in a container: run there by its Python, it prints for each attempt what came of it.

Every attempt is harmless where it is allowed: it asks with arguments that the kernel refuses *after* the question
whether the caller may (a wrong address, a wrong magic number), or it only opens what it would write to.

The answers are ``ok`` or the name of the error. As a program it is given the numbers of the system calls as JSON.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

BAD = 1  # an address nothing is mapped at
NEWNS, NEWUSER, SIGCHLD = 0x0002_0000, 0x1000_0000, 17
MS_REMOUNT, MS_BIND, MS_RDONLY = 32, 4096, 1
AT_FDCWD = -100
AF_ALG, AF_VSOCK = 38, 40
ADDR_NO_RANDOMIZE = 0x0004_0000
OPEN_TREE_CLONE = 1
PTRACE_ATTACH = 16

libc = ctypes.CDLL(None, use_errno=True)


def call(number: int, *arguments: object) -> str:
    """Make a system call."""
    ctypes.set_errno(0)
    converted = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result = libc.syscall(ctypes.c_long(number), *converted)
    return "ok" if result >= 0 else errno.errorcode[ctypes.get_errno()]


def answer(attempt: Callable[[], object]) -> str:
    """What comes of something Python can do."""
    try:
        result = attempt()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return result if isinstance(result, str) else "ok"


def writing(path: str) -> str:
    """Open a file as if to write to it."""
    return answer(lambda: os.close(os.open(path, os.O_WRONLY | os.O_CLOEXEC)))


def reading(path: str) -> str:
    """Read the beginning of a file; ``empty`` when there is nothing in it."""

    def attempt() -> str:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return "ok" if os.read(descriptor, 64) else "empty"
        finally:
            os.close(descriptor)

    return answer(attempt)


def listing(path: str) -> str:
    """List a directory; ``empty`` when there is nothing in it."""
    return answer(lambda: "ok" if os.listdir(path) else "empty")


def device(kind: int, major: int, minor: int) -> str:
    """Make a device node and open it: ``mknod: `` before the error where the node cannot even be made."""
    path = "/tmp/node"
    try:
        os.mknod(path, kind | 0o600, os.makedev(major, minor))
    except OSError as error:
        return f"mknod: {errno.errorcode[error.errno or 0]}"
    try:
        return answer(lambda: os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK)))
    finally:
        os.unlink(path)


def disk() -> tuple[int, int]:
    """A block device that the host has."""
    with open("/proc/partitions", encoding="ascii") as file:
        rows = [line.split() for line in file.read().splitlines()[2:]]
    return (int(rows[0][0]), int(rows[0][1])) if rows else (7, 0)


def every(directory: str, name: str) -> str:
    """Write to each file of a name below a directory: the best answer of all."""
    found = {writing(os.path.join(place, name)) for place, _names, files in os.walk(directory) if name in files}
    return "ok" if "ok" in found else ",".join(sorted(found)) or "none"


def making_cgroup() -> str:
    """Make a cgroup of the program's own in any hierarchy that is mounted."""
    answers = set()
    for place in ("/sys/fs/cgroup", *(entry.path for entry in os.scandir("/sys/fs/cgroup") if entry.is_dir())):
        answers.add(answer(lambda place=place: os.mkdir(f"{place}/mine")))  # type: ignore[misc]  # bound at once
    return "ok" if "ok" in answers else ",".join(sorted(answers))


def descriptors() -> str:
    """Descriptors beside the three that a program is started with."""
    found = sorted(int(name) for name in os.listdir("/proc/self/fd"))
    extra = [number for number in found if number > 2 and os.path.exists(f"/proc/self/fd/{number}")]
    return "none" if not extra else ",".join(os.readlink(f"/proc/self/fd/{number}") for number in extra)


def foreign_processes() -> str:
    """Processes whose pid namespace is another one."""
    own = os.readlink("/proc/self/ns/pid")
    seen = [pid for pid in os.listdir("/proc") if pid.isdigit()]
    foreign = [pid for pid in seen if answer(lambda pid=pid: os.readlink(f"/proc/{pid}/ns/pid")) != own]  # type: ignore[misc]  # bound at once
    return ",".join(foreign) or "none"


def at_process(numbers: dict[str, int], pid: int) -> dict[str, str]:
    """What is tried at a process of the host that can be seen."""
    found = {
        "ptrace of a process of the host": call(numbers["ptrace"], PTRACE_ATTACH, pid, 0, 0),
        "memory of a process of the host": answer(lambda: os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR))),
        "environment of a process of the host": reading(f"/proc/{pid}/environ"),
        "root of a process of the host": listing(f"/proc/{pid}/root/"),
        "descriptors of a process of the host": answer(lambda: os.close(os.open(f"/proc/{pid}/fd/0", os.O_RDONLY))),
        "setns to a process of the host": call(numbers["setns"], call_descriptor(numbers["pidfd_open"], pid), NEWNS),
    }
    if found["ptrace of a process of the host"] == "ok":
        os.kill(pid, signal.SIGCONT)
    return found


def call_descriptor(number: int, *arguments: int) -> int:
    """A system call that gives a descriptor, or -1."""
    return int(libc.syscall(ctypes.c_long(number), *(ctypes.c_long(value) for value in arguments)))


def apart(attempt: Callable[[], str]) -> str:
    """An attempt in a process of its own, as it would change this one."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, attempt().encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    with os.fdopen(reading) as file:
        return file.read()


def attempts(number: dict[str, int]) -> dict[str, str]:
    """Everything that is tried."""
    null = 0
    found = {
        "open descriptors": descriptors(),
        "foreign processes": foreign_processes(),
        # namespaces and mounts
        "mount a file system": call(number["mount"], b"x", b"/mnt", b"tmpfs", 0, null),
        "mount proc again": call(number["mount"], b"x", b"/mnt", b"proc", 0, null),
        "make /proc/sys writable": call(number["mount"], b"x", b"/proc/sys", b"x", MS_REMOUNT | MS_BIND, null),
        "make /sys writable": call(number["mount"], b"x", b"/sys", b"x", MS_REMOUNT | MS_BIND, null),
        "uncover /proc/kcore": call(number["umount2"], b"/proc/kcore", 2),
        "fsopen": call(number["fsopen"], b"tmpfs", 0),
        "open_tree": call(number["open_tree"], AT_FDCWD, b"/", OPEN_TREE_CLONE),
        "move_mount": call(number["move_mount"], -1, BAD, -1, BAD, 0),
        "mount_setattr": call(number["mount_setattr"], -1, BAD, 0, BAD, 64),
        "pivot_root": call(number["pivot_root"], b"/", b"/"),
        "unshare of mounts": apart(lambda: call(number["unshare"], NEWNS)),
        "unshare of users": apart(lambda: call(number["unshare"], NEWUSER)),
        "clone of users": cloned(number["clone"]),
        "clone3": call(number["clone3"], BAD, 64),
        "setns": apart(lambda: call(number["setns"], os.open("/proc/self/ns/mnt", os.O_RDONLY), NEWNS)),
        "sethostname": call(number["sethostname"], b"x", 1),
        # the kernel
        "keyctl": call(number["keyctl"], 0, -3, 0),
        "add_key": call(number["add_key"], b"user", b"x", b"x", 1, -3),
        "request_key": call(number["request_key"], b"user", b"x", null, 0),
        "bpf": call(number["bpf"], 0, BAD, 16),
        "perf_event_open": call(number["perf_event_open"], BAD, 0, -1, -1, 0),
        "io_uring_setup": call(number["io_uring_setup"], 1, BAD),
        "userfaultfd": call(number["userfaultfd"], 0),
        "kexec_load": call(number["kexec_load"], 0, 99, BAD, 0),
        "kexec_file_load": call(number["kexec_file_load"], -1, -1, 0, BAD, 0),
        "reboot": call(number["reboot"], 0, 0, 0, 0),
        "init_module": call(number["init_module"], BAD, 0, BAD),
        "finit_module": call(number["finit_module"], -1, BAD, 0),
        "delete_module": call(number["delete_module"], BAD, 0),
        "swapon": call(number["swapon"], b"/nonexistent", 0),
        "swapoff": call(number["swapoff"], b"/nonexistent"),
        "settimeofday": call(number["settimeofday"], BAD, 0),
        "clock_settime": call(number["clock_settime"], 0, BAD),
        "syslog": call(number["syslog"], 3, BAD, 16),
        "acct": call(number["acct"], BAD),
        "quotactl": call(number["quotactl"], 0x80000700, null, 0, BAD),
        "open_by_handle_at": call(number["open_by_handle_at"], AT_FDCWD, BAD, 0),
        "fanotify_init": call(number["fanotify_init"], 0x10, 0),
        "personality": call(number["personality"], ADDR_NO_RANDOMIZE),
        "socket of AF_ALG": call(number["socket"], AF_ALG, 5, 0),
        "socket of AF_VSOCK": call(number["socket"], AF_VSOCK, 1, 0),
        # devices
        "a disk": device(stat.S_IFBLK, *disk()),
        "/dev/mem": device(stat.S_IFCHR, 1, 1),
        "/dev/kmsg by its number": device(stat.S_IFCHR, 1, 11),
        "/dev/fuse by its number": device(stat.S_IFCHR, 10, 229),
        "/dev/kmsg": reading("/dev/kmsg"),
        # files of the kernel
        "/proc/sysrq-trigger": writing("/proc/sysrq-trigger"),
        "core_pattern": writing("/proc/sys/kernel/core_pattern"),
        "modprobe": writing("/proc/sys/kernel/modprobe"),
        "max_user_namespaces": writing("/proc/sys/user/max_user_namespaces"),
        "binfmt_misc": writing("/proc/sys/fs/binfmt_misc/register"),
        "oom_score_adj below its own": lowered_oom_score(),
        "/proc/kcore": reading("/proc/kcore"),
        "/proc/keys": reading("/proc/keys"),
        "/proc/timer_list": reading("/proc/timer_list"),
        "/proc/interrupts": reading("/proc/interrupts"),
        "/sys/firmware": listing("/sys/firmware"),
        "uevent_helper": writing("/sys/kernel/uevent_helper"),
        "/sys/kernel": every("/sys/kernel/mm", "enabled"),
        "/sys/power": writing("/sys/power/state"),
        "release_agent": every("/sys/fs/cgroup", "release_agent"),
        "notify_on_release": every("/sys/fs/cgroup", "notify_on_release"),
        "limits of its own": every("/sys/fs/cgroup", "memory.limit_in_bytes"),
        "devices of its own": every("/sys/fs/cgroup", "devices.allow"),
        "make a cgroup": making_cgroup(),
        "root of pid 1": "ok" if os.path.exists("/proc/1/root/this-is-the-host") else "its own",
    }  # fmt: skip
    for name in ("iopl", "ioperm"):
        if name in number:
            found[name] = call(number[name], 3, 1, 1)
    return found


def cloned(number: int) -> str:
    """Clone into a new user namespace; a child that comes to be ends at once."""
    ctypes.set_errno(0)
    pid = libc.syscall(ctypes.c_long(number), ctypes.c_long(NEWUSER | SIGCHLD), None, None, None, None)
    if pid == 0:
        os._exit(0)
    if pid > 0:
        os.waitpid(pid, 0)
    return "ok" if pid > 0 else errno.errorcode[ctypes.get_errno()]


def lowered_oom_score() -> str:
    """Make the kernel take another process first when memory runs out."""

    def attempt() -> None:
        with open("/proc/self/oom_score_adj", "r+b", buffering=0) as file:
            file.write(b"-1000")

    return answer(attempt)


if __name__ == "__main__":
    numbers = json.loads(sys.argv[1])
    pid = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    print(json.dumps(at_process(numbers, pid) if pid else attempts(numbers)))
