"""What a system call filter answers, found out by running its instructions here, and what some calls would give away.

Sources: seccomp(2), ``struct seccomp_data``; the kernel's ``linux/bpf_common.h`` for the instructions.
"""

from __future__ import annotations

import errno
import struct

from jupyter_containers.linux.syscall_table import numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_LD, _AND, _JA, _JEQ, _JGT, _JGE, _RET = 0x20, 0x54, 0x05, 0x15, 0x25, 0x35, 0x06
_AUDIT_ARCH = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
_ACTION = 0xFFFF_0000
_WORDS = {
    0x8000_0000: "the process is killed",
    0x0000_0000: "the thread is killed",
    0x0003_0000: "the process gets a signal",
    0x7FC0_0000: "an agent is asked",
    0x7FF0_0000: "a tracer is told",
    0x7FFC_0000: "allowed, and logged",
    0x7FFF_0000: "allowed",
}
_ERRNO = 0x0005_0000
ALLOWED = ("allowed", "allowed, and logged")
_CLONE_NEWUSER = 0x1000_0000

NOTABLE: tuple[tuple[str, tuple[int, ...], str], ...] = (
    ("mount", (), "attach a file system: cover files, reach other disks"),
    ("umount2", (), "detach a file system: uncover what is masked"),
    ("pivot_root", (), "change the root directory of the mount namespace"),
    ("move_mount", (), "attach a file system by its descriptor"),
    ("open_tree", (), "take a copy of mounts by a descriptor"),
    ("unshare", (_CLONE_NEWUSER,), "make a user namespace, and have all capabilities in it"),
    ("clone", (_CLONE_NEWUSER,), "start a process in a new user namespace"),
    ("clone3", (), "the newer clone, whose flags no filter can see"),
    ("setns", (), "join the namespaces of another process"),
    ("chroot", (), "change the root directory of a process"),
    ("mknod", (), "make a device node"),
    ("open_by_handle_at", (), "open any file of a disk by its number, whatever the path"),
    ("keyctl", (), "read and change keys, which no namespace holds"),
    ("add_key", (), "put a key into the kernel's keyrings"),
    ("request_key", (), "have the kernel call a program of the host for a key"),
    ("bpf", (), "load programs into the kernel"),
    ("perf_event_open", (), "measure, and so watch, the kernel and other processes"),
    ("io_uring_setup", (), "make calls by a queue that no filter sees"),
    ("userfaultfd", (), "stop the kernel in the middle of reading memory"),
    ("ptrace", (), "trace another process"),
    ("process_vm_readv", (), "read the memory of another process"),
    ("init_module", (), "load a kernel module"),
    ("finit_module", (), "load a kernel module from a file"),
    ("delete_module", (), "take a kernel module out"),
    ("kexec_load", (), "start another kernel"),
    ("reboot", (), "restart the machine"),
    ("swapon", (), "swap to a file or a disk"),
    ("settimeofday", (), "set the clock of the machine"),
    ("clock_settime", (), "set the clock of the machine"),
    ("iopl", (), "use the ports of hardware"),
    ("syslog", (), "read the messages of the kernel"),
    ("quotactl", (), "set quotas of disks"),
    ("acct", (), "have the kernel write down every process"),
    ("personality", (0xFFFF_FFFF,), "ask for the execution domain"),
    ("personality", (0x0040_0000,), "turn address randomization off"),
    ("socket", (40,), "talk to other virtual machines of the host (AF_VSOCK)"),
)
"""Calls that say much about a container: name, arguments, what they are for."""


def answer(program: bytes, call: str, arguments: Sequence[int] = (), *, machine: str) -> str | None:
    """What a filter answers to a call of this machine: ``allowed``, ``EPERM``, ``the process is killed`` ...

    None where the machine has no such call. An empty program allows everything.
    """
    number = numbers(machine).get(call)
    if number is None:
        return None
    if not program:
        return "allowed"
    padded = (*arguments, *(0,) * (6 - len(arguments)))
    data = struct.pack("<IIQ6Q", number, _AUDIT_ARCH[machine], 0, *padded)
    value = _run(list(struct.iter_unpack("=HBBI", program)), data)
    if value & _ACTION == _ERRNO:
        code = value & 0xFFFF
        return errno.errorcode.get(code, f"error {code}")
    return _WORDS.get(value & _ACTION, f"{value:#x}")


def _run(code: list[tuple[int, ...]], data: bytes) -> int:
    accumulator, at = 0, 0
    while True:
        op, true, false, k = code[at]
        at += 1
        if op == _LD:
            (accumulator,) = struct.unpack_from("<I", data, k)
        elif op == _AND:
            accumulator &= k
        elif op == _JA:
            at += k
        elif op == _RET:
            return k
        else:
            holds = {_JEQ: accumulator == k, _JGT: accumulator > k, _JGE: accumulator >= k}[op]
            at += true if holds else false
