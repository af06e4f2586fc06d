"""Device rules on cgroup version 2: an eBPF program that the kernel asks before a device is opened or made.

Version 2 has no files for them. The last rule that speaks of a device decides, and what no rule speaks of is allowed,
as with the files of version 1. A request for several kinds of access at once (to read and to write) must be allowed by
one rule, where version 1 would add rules up.

Sources: bpf(2); Documentation/admin-guide/cgroup-v2.rst, "Device controller"; linux/bpf.h.
"""

from __future__ import annotations

import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from jupyter_containers.oci.runtime_spec import DeviceCgroup

_TYPES = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}
_EVERY_ACCESS = 7

# struct bpf_cgroup_dev_ctx: access_type (access << 16 | type), major, minor; each is read into a register.
_TYPE, _ACCESS_REGISTER, _MAJOR, _MINOR = 2, 3, 4, 5
_LOAD, _MOVE32, _MOVE, _RIGHT_SHIFT, _AND, _JUMP_UNEQUAL, _JUMP_EQUAL, _EXIT = (
    0x61,
    0xBC,
    0xB7,
    0x74,
    0x54,
    0x56,
    0x16,
    0x95,
)

_BPF = {"x86_64": 321, "aarch64": 280}
_PROG_LOAD, _PROG_ATTACH = 5, 8
_PROG_TYPE_CGROUP_DEVICE, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI = 15, 6, 2
_ATTRIBUTE_SIZE = 128  # larger than union bpf_attr of 5.11, the rest zero, which newer and older kernels take


def compile_rules(rules: Iterable[DeviceCgroup]) -> bytes:
    """The rules as an array of ``struct bpf_insn``."""
    code = [
        _instruction(_LOAD, _TYPE, 1, 0),
        _instruction(_LOAD, _MAJOR, 1, 4),
        _instruction(_LOAD, _MINOR, 1, 8),
        _instruction(_MOVE32, _ACCESS_REGISTER, _TYPE),
        _instruction(_RIGHT_SHIFT, _ACCESS_REGISTER, value=16),
        _instruction(_AND, _TYPE, value=0xFFFF),
    ]
    for rule in reversed(list(rules)):
        conditions = _conditions(rule)
        verdict = [_instruction(_MOVE, 0, value=int(rule["allow"])), _instruction(_EXIT, 0)]
        for at, (op, register, value) in enumerate(conditions):
            jumps = op in {_JUMP_EQUAL, _JUMP_UNEQUAL}
            over = len(conditions) - at - 1 + len(verdict) if jumps else 0
            source = _ACCESS_REGISTER if op == _MOVE32 else 0
            code.append(_instruction(op, register, source, over, value))
        code += verdict
        if not conditions:
            return b"".join(code)  # what follows could not be reached, and the kernel refuses such programs
    return b"".join([*code, _instruction(_MOVE, 0, value=1), _instruction(_EXIT, 0)])


def _conditions(rule: DeviceCgroup) -> list[tuple[int, int, int]]:
    """Instructions that jump over the verdict where the rule does not apply: operation, register, number."""
    found = []
    kind = rule.get("type") or "a"
    if kind != "a":
        found.append((_JUMP_UNEQUAL, _TYPE, _TYPES["c" if kind == "u" else kind]))
    access = sum(_ACCESS[letter] for letter in set(rule.get("access") or "rwm"))
    if access != _EVERY_ACCESS:
        found.append((_MOVE32, 1, 0))
        if rule["allow"]:  # everything asked for has to be in the rule
            found += [(_AND, 1, _EVERY_ACCESS & ~access), (_JUMP_UNEQUAL, 1, 0)]
        else:
            found += [(_AND, 1, access), (_JUMP_EQUAL, 1, 0)]
    if kind != "a":
        for register, number in ((_MAJOR, rule.get("major")), (_MINOR, rule.get("minor"))):
            if number is not None and number >= 0:
                found.append((_JUMP_UNEQUAL, register, number))
    return found


def _instruction(op: int, target: int, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhi", op, source << 4 | target, offset, value)


def attach(program: bytes, directory: int) -> None:
    """Load a program and attach it to a cgroup, by a descriptor of its directory. It goes when the cgroup goes.

    Raises :exc:`OSError`; EPERM without CAP_SYS_ADMIN, or CAP_BPF with CAP_NET_ADMIN.
    """
    import ctypes  # noqa: PLC0415 - planning does without

    code, licence = ctypes.create_string_buffer(program, len(program)), ctypes.create_string_buffer(b"GPL")
    arguments = struct.pack(
        "=IIQQ",
        _PROG_TYPE_CGROUP_DEVICE,
        len(program) // 8,
        ctypes.addressof(code),
        ctypes.addressof(licence),
    )
    loaded = _bpf(_PROG_LOAD, arguments)
    try:
        _bpf(_PROG_ATTACH, struct.pack("=IIII", directory, loaded, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI))
    finally:
        os.close(loaded)


def _bpf(command: int, arguments: bytes) -> int:
    import ctypes  # noqa: PLC0415 - planning does without

    library = ctypes.PyDLL(None, use_errno=True)
    attributes = ctypes.create_string_buffer(arguments, _ATTRIBUTE_SIZE)
    number = ctypes.c_long(_BPF[os.uname().machine])
    result = int(library.syscall(number, ctypes.c_long(command), attributes, ctypes.c_long(_ATTRIBUTE_SIZE)))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"bpf: {os.strerror(error)}")
    return result
