"""A system call filter of the runtime specification, compiled to the kernel's classic BPF.

Source: OCI runtime specification, config-linux.md "Seccomp"; seccomp(2); Documentation/networking/filter of the kernel.

The program looks at the architecture, then finds the number of the call in a binary tree over ranges of numbers with
the same answer, so that it is short (loading takes time in proportion to its length) whatever the number of rules. It
is put together from its end: every jump goes forward, so its target is always known, and equal code is emitted once.

What the specification leaves open is done as runc does it, so that a profile means here what it means to Docker:

- the first rule that matches decides, in the order of the profile;
- the conditions of a rule must all hold; but if a rule names one argument twice, it holds when any condition does;
- names this kernel's architecture does not know are skipped (a profile is written for many).

A program of another architecture than the profile lists is killed.

SCMP_ACT_NOTIFY asks an agent, another process, what becomes of a call: init sends it the descriptor of the filter by
way of its starter, and so needs sendmsg and recvmsg itself while the filter is there already.
"""

from __future__ import annotations

import struct

from jupyter_containers.errors import InvalidInput, Unsupported
from jupyter_containers.linux.seccomp_load import FLAGS, NOTIFY, notifies
from jupyter_containers.linux.syscall_table import X32_BIT, numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jupyter_containers.oci.runtime_spec import Seccomp, SyscallArg, SyscallRule

# struct seccomp_data: int nr; __u32 arch; __u64 instruction_pointer; __u64 args[6]
_NR, _ARCH, _ARGS = 0, 4, 16
_LAST = 0xFFFF_FFFF
_LONGEST = 4096  # BPF_MAXINSNS

# Load a word of the data; and, the jumps and return, all with the instruction's own constant (linux/bpf_common.h).
_LD, _AND, _JA, _JEQ, _JGT, _JGE, _RET = 0x20, 0x54, 0x05, 0x15, 0x25, 0x35, 0x06
_NEAR = 255  # the reach of a conditional jump, which has one byte for it

# SECCOMP_RET_*; the low 16 bits carry data
_ACTIONS = {
    "SCMP_ACT_KILL": 0x0000_0000,
    "SCMP_ACT_KILL_THREAD": 0x0000_0000,
    "SCMP_ACT_KILL_PROCESS": 0x8000_0000,
    "SCMP_ACT_TRAP": 0x0003_0000,
    "SCMP_ACT_ERRNO": 0x0005_0000,
    "SCMP_ACT_NOTIFY": 0x7FC0_0000,
    "SCMP_ACT_TRACE": 0x7FF0_0000,
    "SCMP_ACT_LOG": 0x7FFC_0000,
    "SCMP_ACT_ALLOW": 0x7FFF_0000,
}
_KILL_PROCESS = _ACTIONS["SCMP_ACT_KILL_PROCESS"]
_WITH_ERRNO = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
_EPERM, _MAX_ERRNO = 1, 4095
# AUDIT_ARCH_*: the ELF machine, with 0x80000000 for 64 bit and 0x40000000 for little endian
_AUDIT_ARCH = {"x86_64": 0xC000_003E, "i386": 0x4000_0003, "aarch64": 0xC000_00B7, "arm": 0x4000_0028}
# The architectures whose programs a machine runs, the first being its own, by their names in a profile.
_FAMILIES = {
    "x86_64": {"SCMP_ARCH_X86_64": "x86_64", "SCMP_ARCH_X86": "i386", "SCMP_ARCH_X32": "x32"},
    "aarch64": {"SCMP_ARCH_AARCH64": "aarch64", "SCMP_ARCH_ARM": "arm"},
}
_ARCHITECTURES = (
    "SCMP_ARCH_X86 SCMP_ARCH_X86_64 SCMP_ARCH_X32 SCMP_ARCH_ARM SCMP_ARCH_AARCH64 SCMP_ARCH_MIPS SCMP_ARCH_MIPS64 "
    "SCMP_ARCH_MIPS64N32 SCMP_ARCH_MIPSEL SCMP_ARCH_MIPSEL64 SCMP_ARCH_MIPSEL64N32 SCMP_ARCH_PPC SCMP_ARCH_PPC64 "
    "SCMP_ARCH_PPC64LE SCMP_ARCH_S390 SCMP_ARCH_S390X SCMP_ARCH_PARISC SCMP_ARCH_PARISC64 SCMP_ARCH_RISCV64 "
    "SCMP_ARCH_LOONGARCH64 SCMP_ARCH_M68K SCMP_ARCH_SH SCMP_ARCH_SHEB"
)
_OPERATORS = "SCMP_CMP_NE SCMP_CMP_LT SCMP_CMP_LE SCMP_CMP_EQ SCMP_CMP_GE SCMP_CMP_GT SCMP_CMP_MASKED_EQ"


def features() -> dict[str, list[str]]:
    """What can be asked of a filter on this machine, by the names of features-linux.md "Seccomp"."""
    return {
        "actions": sorted(_ACTIONS),
        "operators": _OPERATORS.split(),
        "archs": sorted({name for family in _FAMILIES.values() for name in family}),
        "knownFlags": sorted(FLAGS),
    }


def compile_filter(profile: Seccomp, *, arch: str, agent: bool = False) -> bytes:
    """The filter ``profile`` as an array of ``struct sock_filter`` for seccomp(2).

    Parameters
    ----------
    profile
        ``linux.seccomp`` of a configuration.
    arch
        The machine as uname(2) names it: ``x86_64`` or ``aarch64``.
    agent
        Whether there is somebody to ask about calls with SCMP_ACT_NOTIFY (``seccomp_load.py``).

    Raises
    ------
    InvalidInput
        The profile has an unknown action, operator or architecture, or is too long for the kernel.
    Unsupported
        No filter can be made for this machine, or the action needs an agent.
    """
    if notifies(profile) and not agent:
        raise Unsupported(f"seccomp profile: {NOTIFY} needs a listener, and there is none")
    if arch not in _FAMILIES:
        raise Unsupported(f"no system call filter can be made for {arch} machines")
    listed = profile.get("architectures") or []
    for name in listed:
        if name not in _ARCHITECTURES.split():
            raise InvalidInput(f"seccomp profile: unknown architecture {name!r}")
    family = _FAMILIES[arch]
    wanted = {arch, *(family[name] for name in listed if name in family)}

    rules = profile.get("syscalls") or []
    _check(rules)
    default = _verdict(profile.get("defaultAction", ""), profile.get("defaultErrnoRet"))
    program = _Program()
    start = program.ret(_KILL_PROCESS)
    for name in reversed(_AUDIT_ARCH):
        if name in wanted:
            block = _architecture(program, rules, default, name, x32="x32" in wanted)
            start = program.emit(_JEQ, _AUDIT_ARCH[name], block, start)
    program.then(_LD, _ARCH, start)
    return program.assembled()


def _check(rules: Sequence[SyscallRule]) -> None:
    """Refuse what is not understood even where the rule's calls do not exist on this machine."""
    for rule in rules:
        _verdict(rule.get("action", ""), rule.get("errnoRet"))
        for condition in rule.get("args") or []:
            if condition.get("op") not in _OPERATORS.split():
                raise InvalidInput(f"seccomp profile: unknown operator {condition.get('op')!r}")
            if not 0 <= condition.get("index", -1) < 6:  # noqa: PLR2004 - a system call has six arguments
                raise InvalidInput(f"seccomp profile: no argument has index {condition.get('index')!r}")


def _verdict(action: str, errno: int | None) -> int:
    """The filter's return value for an action."""
    if action not in _ACTIONS:
        raise InvalidInput(f"seccomp profile: unknown action {action!r}")
    if action not in _WITH_ERRNO:
        if errno is not None:
            raise InvalidInput(f"seccomp profile: {action} takes no error number, and {errno} is given")
        return _ACTIONS[action]
    number = _EPERM if errno is None else errno
    if not 0 <= number <= _MAX_ERRNO:
        raise InvalidInput(f"seccomp profile: {number} is no error number")
    return _ACTIONS[action] | number


def _architecture(program: _Program, rules: Sequence[SyscallRule], default: int, arch: str, *, x32: bool) -> int:
    """Emit the part for one architecture and return where it begins."""
    by_number = _rules_by_number(rules, numbers(arch))
    if arch == "x86_64" and x32:
        # One tree serves both: a call has one number in both tables, or an x32 number that x86_64 has no call for.
        by_number = _rules_by_number(rules, numbers("x32")) | by_number
    fallback = program.ret(default)
    targets = {number: _chain(program, found, fallback) for number, found in by_number.items()}
    tree = _tree(program, _ranges(targets, fallback))
    if arch == "x86_64":
        # -1 is not an x32 call but one that a tracer took back (seccomp(2), "x32 ABI").
        high = program.then(_AND, _LAST ^ X32_BIT, tree) if x32 else program.ret(_KILL_PROCESS)
        high = program.emit(_JEQ, _LAST, fallback, high)
        tree = program.emit(_JGE, X32_BIT, high, tree)
    return program.then(_LD, _NR, tree)


def _rules_by_number(rules: Iterable[SyscallRule], table: Mapping[str, int]) -> dict[int, list[SyscallRule]]:
    """The rules that concern each number, in the profile's order, none after one without conditions."""
    found: dict[int, list[SyscallRule]] = {}
    for rule in rules:
        for name in rule.get("names", []):
            number = table.get(name)
            if number is None:
                continue
            known = found.setdefault(number, [])
            if not known or known[-1].get("args"):
                known.append(rule)
    return found


def _chain(program: _Program, rules: Sequence[SyscallRule], fallback: int) -> int:
    """Emit the rules of one call, the first match deciding, and return where they begin."""
    following = fallback
    for rule in reversed(rules):
        matched = program.ret(_verdict(rule.get("action", ""), rule.get("errnoRet")))
        conditions = rule.get("args") or []
        if not conditions:
            following = matched
            continue
        indexes = [condition["index"] for condition in conditions]
        if len(set(indexes)) == len(indexes):
            begin = matched
            for condition in reversed(conditions):
                begin = _condition(program, condition, begin, following)
        else:
            begin = following
            for condition in reversed(conditions):
                begin = _condition(program, condition, matched, begin)
        following = begin
    return following


def _condition(program: _Program, condition: SyscallArg, true: int, false: int) -> int:
    """Emit the comparison of one 64-bit argument, whose halves are looked at one after the other."""
    op = condition["op"].removeprefix("SCMP_CMP_")
    value = condition.get("value", 0) & (1 << 64) - 1
    low_at = _ARGS + 8 * condition["index"]  # both architectures are little endian
    high_at = low_at + 4
    if op in {"NE", "LT", "LE"}:
        op = {"NE": "EQ", "LT": "GE", "LE": "GT"}[op]
        true, false = false, true
    if op == "MASKED_EQ":
        wanted = condition.get("valueTwo", 0) & (1 << 64) - 1
        lower = program.emit(_JEQ, wanted & _LAST, true, false)
        lower = program.then(_LD, low_at, program.then(_AND, value & _LAST, lower))
        upper = program.emit(_JEQ, wanted >> 32, lower, false)
        return program.then(_LD, high_at, program.then(_AND, value >> 32, upper))
    compare = {"EQ": _JEQ, "GE": _JGE, "GT": _JGT}[op]
    lower = program.then(_LD, low_at, program.emit(compare, value & _LAST, true, false))
    upper = program.emit(_JEQ, value >> 32, lower, false)
    if op != "EQ":
        upper = program.emit(_JGT, value >> 32, true, upper)
    return program.then(_LD, high_at, upper)


def _ranges(targets: dict[int, int], fallback: int) -> list[tuple[int, int]]:
    """All numbers as (first number, target), neighbours with one target joined."""
    ranges = [(0, fallback)]
    expected = 0
    for number in sorted(targets):
        if number != expected:
            ranges.append((expected, fallback))
        ranges.append((number, targets[number]))
        expected = number + 1
    ranges.append((expected, fallback))
    joined: list[tuple[int, int]] = []
    for first, target in ranges:
        if joined and joined[-1][0] == first:
            joined.pop()
        if not joined or joined[-1][1] != target:
            joined.append((first, target))
    return joined


def _tree(program: _Program, ranges: Sequence[tuple[int, int]]) -> int:
    """Emit a binary search for the range a number is in and return where it begins."""
    if len(ranges) == 1:
        return ranges[0][1]
    if len(ranges) == 3 and ranges[0][1] == ranges[2][1] and ranges[2][0] == ranges[1][0] + 1:  # noqa: PLR2004 - x, y, x
        return program.emit(_JEQ, ranges[1][0], ranges[1][1], ranges[0][1])
    middle = len(ranges) // 2
    if middle % 2 and len(ranges) > 4:  # noqa: PLR2004 - halves of an odd length end in the shape above more often
        middle += 1
    right = _tree(program, ranges[middle:])
    left = _tree(program, ranges[:middle])
    return program.emit(_JGE, ranges[middle][0], right, left)


class _Program:
    """Instructions from the last to the first; a *label* is an instruction's distance from the end."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int]] = []
        self._known: dict[tuple[int, int, int, int], int] = {}

    def ret(self, value: int) -> int:
        """Return ``value``."""
        return self._once((_RET, value, 0, 0))

    def emit(self, op: int, k: int, true: int, false: int) -> int:
        """A conditional jump to one of two labels; none where both are the same."""
        if true == false:
            return true
        known = self._known.get((op, k, true, false))
        if known is not None:
            return known
        # Bringing one label near moves the other one away: the second look settles it.
        near_true, near_false = self._near(true), self._near(false)
        near_true, near_false = self._near(near_true), self._near(near_false)
        here = len(self._code)
        label = self._append((op, k, here - near_true - 1, here - near_false - 1))
        self._known[op, k, true, false] = label
        return label

    def then(self, op: int, k: int, following: int) -> int:
        """An instruction that goes on at ``following``."""
        known = self._known.get((op, k, following, -1))
        if known is not None:
            return known
        if following != len(self._code) - 1:
            self._append((_JA, len(self._code) - following - 1, 0, 0))
        label = self._append((op, k, 0, 0))
        self._known[op, k, following, -1] = label
        return label

    def assembled(self) -> bytes:
        """The program, first instruction first."""
        if len(self._code) > _LONGEST:
            raise InvalidInput(f"seccomp profile: {len(self._code)} instructions, and the kernel takes {_LONGEST}")
        return b"".join(struct.pack("=HBBI", op, true, false, k) for op, k, true, false in reversed(self._code))

    def _near(self, label: int) -> int:
        """A label a conditional jump can reach from here that does what ``label`` does.

        Three are left in reserve for what :meth:`emit` may put in between.
        """
        distance = len(self._code) - label - 1
        if distance <= _NEAR - 3:
            return label
        op, k, _, _ = self._code[label]
        if op == _RET:
            nearer = self._known[_RET, k, 0, 0]
            if len(self._code) - nearer - 1 > _NEAR - 3:
                nearer = self._known[_RET, k, 0, 0] = self._append((_RET, k, 0, 0))
            return nearer
        return self._append((_JA, distance, 0, 0))

    def _once(self, instruction: tuple[int, int, int, int]) -> int:
        label = self._known.get(instruction)
        if label is None:
            label = self._known[instruction] = self._append(instruction)
        return label

    def _append(self, instruction: tuple[int, int, int, int]) -> int:
        self._code.append(instruction)
        return len(self._code) - 1
