from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.errors import InvalidInput, Unsupported
from jupyter_containers.linux.seccomp import compile_filter
from jupyter_containers.linux.seccomp_default import docker_profile
from jupyter_containers.linux.seccomp_load import load_options
from jupyter_containers.linux.syscall_table import X32_BIT, numbers

if TYPE_CHECKING:
    from jupyter_containers.oci.runtime_spec import Seccomp, SyscallArg, SyscallRule

ALLOW, KILL_PROCESS, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
EPERM, ENOSYS = ERRNO | 1, ERRNO | 38
AUDIT = {"x86_64": 0xC000003E, "x32": 0xC000003E, "i386": 0x40000003, "aarch64": 0xC00000B7, "arm": 0x40000028}


def run(program: bytes, arch: int, number: int, args: tuple[int, ...] = ()) -> int:
    """What the kernel would answer: an interpreter of the instructions a filter may have."""
    code = list(struct.iter_unpack("=HBBI", program))
    padded = (*args, *(0,) * (6 - len(args)))
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, arch, 0, *padded)
    accumulator, at = 0, 0
    while True:
        op, true, false, k = code[at]
        at += 1
        match op:
            case 0x20:
                assert k % 4 == 0
                assert k < 64
                (accumulator,) = struct.unpack_from("<I", data, k)
            case 0x54:
                accumulator &= k
            case 0x05:
                at += k
            case 0x15:
                at += true if accumulator == k else false
            case 0x25:
                at += true if accumulator > k else false
            case 0x35:
                at += true if accumulator >= k else false
            case 0x06:
                return int(k)
            case _:
                raise AssertionError(f"no such instruction: {op:#x}")


def verdict(action: str, errno: int | None) -> int:
    return {"SCMP_ACT_ALLOW": ALLOW, "SCMP_ACT_ERRNO": ERRNO | (1 if errno is None else errno)}[action]


def holds(arg: SyscallArg, args: tuple[int, ...]) -> bool:  # noqa: PLR0911 - one for each operator
    actual, value = args[arg["index"]], arg["value"]
    match arg["op"].removeprefix("SCMP_CMP_"):
        case "EQ":
            return actual == value
        case "NE":
            return actual != value
        case "LT":
            return actual < value
        case "LE":
            return actual <= value
        case "GT":
            return actual > value
        case "GE":
            return actual >= value
        case _:
            return actual & value == arg.get("valueTwo", 0)


def expected(profile: Seccomp, name: str, args: tuple[int, ...]) -> int:
    """The specification, read literally."""
    for rule in profile["syscalls"]:
        if name in rule["names"] and all(holds(arg, args) for arg in rule.get("args", [])):
            return verdict(rule["action"], rule.get("errnoRet"))
    return verdict(profile["defaultAction"], profile.get("defaultErrnoRet"))


INTERESTING = (
    0,
    1,
    7,
    8,
    9,
    37,
    38,
    39,
    40,
    41,
    0x20000,
    0x20008,
    0x10000000,
    0x02000000,
    0xFFFFFFFF,
    1 << 32,
    2**64 - 1,
)


@pytest.mark.parametrize("capabilities", [(), ("CAP_SYS_ADMIN",), ("CAP_SYS_PTRACE", "CAP_BPF")])
@pytest.mark.parametrize(
    ("machine", "arch"), [("x86_64", "x86_64"), ("x86_64", "x32"), ("x86_64", "i386"), ("aarch64",) * 2]
)
def test_every_call_gets_the_answer_of_the_default_profile(
    machine: str, arch: str, capabilities: tuple[str, ...]
) -> None:
    profile = docker_profile(capabilities, (6, 1), arch=machine)
    program = compile_filter(profile, arch=machine)
    bit = X32_BIT if arch == "x32" else 0
    conditional = {name for rule in profile["syscalls"] if rule.get("args") for name in rule["names"]}
    for name, number in numbers(arch).items():
        for value in INTERESTING if name in conditional else (0,):
            args = (value, 0, 0, 0, 0, 0)
            assert run(program, AUDIT[arch], number | bit, args) == expected(profile, name, args), (name, value)


def test_numbers_no_call_has_get_the_default_answer() -> None:
    program = compile_filter(docker_profile((), (6, 1)), arch="x86_64")
    known = set(numbers("x86_64").values()) | set(numbers("x32").values())
    for number in (*range(600), 1000, 0x3FFFFFFF):
        if number not in known:
            assert run(program, AUDIT["x86_64"], number) == EPERM, number
    assert run(program, AUDIT["x86_64"], -1) == EPERM


def test_docker_blocks_what_it_blocks() -> None:
    program = compile_filter(docker_profile((), (6, 1)), arch="x86_64")
    table = numbers("x86_64")
    for name in (
        "mount",
        "keyctl",
        "add_key",
        "unshare",
        "setns",
        "bpf",
        "kexec_load",
        "userfaultfd",
        "io_uring_setup",
    ):
        assert run(program, AUDIT["x86_64"], table[name]) == EPERM, name
    assert run(program, AUDIT["x86_64"], table["clone3"]) == ENOSYS
    assert run(program, AUDIT["x86_64"], table["clone"], (0x10000000,)) == EPERM
    assert run(program, AUDIT["x86_64"], table["clone"], (0x11,)) == ALLOW
    assert run(program, AUDIT["x86_64"], table["socket"], (38,)) == EPERM
    assert run(program, AUDIT["x86_64"], table["socket"], (2,)) == ALLOW


def test_a_program_of_an_architecture_not_listed_is_killed() -> None:
    native = compile_filter({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_S390X"]}, arch="x86_64")
    assert run(native, AUDIT["x86_64"], 0) == ALLOW
    assert run(native, AUDIT["i386"], 0) == KILL_PROCESS
    assert run(native, AUDIT["aarch64"], 0) == KILL_PROCESS
    assert run(native, AUDIT["x86_64"], X32_BIT) == KILL_PROCESS
    assert run(native, AUDIT["x86_64"], -1) == ALLOW


ACTIONS = {
    "SCMP_ACT_KILL": 0,
    "SCMP_ACT_KILL_THREAD": 0,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x30000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
    "SCMP_ACT_ERRNO": 0x50001,
    "SCMP_ACT_TRACE": 0x7FF00001,
}


@pytest.mark.parametrize(("action", "value"), ACTIONS.items())
def test_each_action_has_its_return_value(action: str, value: int) -> None:
    profile: Seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": action}]}
    program = compile_filter(profile, arch="x86_64")
    assert run(program, AUDIT["x86_64"], 0) == value
    assert run(program, AUDIT["x86_64"], 1) == ALLOW


WORDS = st.sampled_from([0, 1, 2, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**33, 2**63, 2**64 - 1]) | st.integers(
    0, 2**64 - 1
)
OPS = st.sampled_from(["EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ"])


@given(OPS, WORDS, WORDS, WORDS, st.integers(0, 5))
def test_conditions_compare_64_bits(op: str, value: int, second: int, actual: int, index: int) -> None:
    arg: SyscallArg = {"index": index, "value": value, "valueTwo": second, "op": f"SCMP_CMP_{op}"}
    rule: SyscallRule = {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [arg]}
    profile: Seccomp = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}
    args = tuple(actual if at == index else 0 for at in range(6))
    program = compile_filter(profile, arch="x86_64")
    assert run(program, AUDIT["x86_64"], 0, args) == (ALLOW if holds(arg, args) else EPERM)


@given(st.data())
def test_any_list_of_rules_answers_by_its_first_match(data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(numbers("x86_64"))), min_size=1, max_size=60))
    rules: list[SyscallRule] = []
    for name in names:
        rule: SyscallRule = {
            "names": [name],
            "action": data.draw(st.sampled_from(["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"])),
        }
        if rule["action"] == "SCMP_ACT_ERRNO":
            rule["errnoRet"] = data.draw(st.integers(0, 200))
        indexes = data.draw(st.lists(st.integers(0, 3), max_size=3, unique=True))
        if indexes:
            rule["args"] = [
                {"index": index, "value": data.draw(st.integers(0, 3)), "op": f"SCMP_CMP_{data.draw(OPS)}"}
                for index in indexes
            ]
        rules.append(rule)
    profile: Seccomp = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 13, "syscalls": rules}
    program = compile_filter(profile, arch="x86_64")
    for name in names:
        args = (*data.draw(st.tuples(*[st.integers(0, 3)] * 4)), 0, 0)
        assert run(program, AUDIT["x86_64"], numbers("x86_64")[name], args) == expected(profile, name, args)


def test_jumps_reach_across_a_program_of_thousands_of_instructions() -> None:
    table = numbers("x86_64")
    rules: list[SyscallRule] = [
        {
            "names": [name],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": number,
            "args": [{"index": 0, "value": number, "op": "SCMP_CMP_EQ"}],
        }
        for name, number in table.items()
    ]
    profile: Seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}
    program = compile_filter(profile, arch="x86_64")
    assert len(program) > 8 * 1500
    for number in table.values():
        assert run(program, AUDIT["x86_64"], number, (number,)) == ERRNO | number
        assert run(program, AUDIT["x86_64"], number, (number + 1,)) == ALLOW


def test_an_argument_named_twice_makes_alternatives_of_the_conditions() -> None:
    args: list[SyscallArg] = [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"} for value in (3, 5)]
    rule: SyscallRule = {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": args}
    program = compile_filter({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}, arch="x86_64")
    assert [run(program, AUDIT["x86_64"], 0, (value,)) for value in (3, 4, 5)] == [ALLOW, EPERM, ALLOW]


def test_names_nobody_knows_are_skipped() -> None:
    profile: Seccomp = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["frobnicate"], "action": "SCMP_ACT_KILL"}],
    }
    assert run(compile_filter(profile, arch="x86_64"), AUDIT["x86_64"], 0) == ALLOW


@pytest.mark.parametrize(
    ("profile", "word"),
    [
        ({"defaultAction": "SCMP_ACT_PERHAPS"}, "SCMP_ACT_PERHAPS"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_VAX"]}, "SCMP_ARCH_VAX"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["x"], "action": "ALLOW"}]}, "'ALLOW'"),
        (
            {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [
                    {"names": ["x"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_ISH"}]}
                ],
            },
            "SCMP_CMP_ISH",
        ),
        (
            {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [
                    {"names": ["x"], "action": "SCMP_ACT_LOG", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}
                ],
            },
            "index 6",
        ),
        ({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 70000}, "70000"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(profile: Seccomp, word: str) -> None:
    with pytest.raises(InvalidInput, match=word):
        compile_filter(profile, arch="x86_64")


def test_what_cannot_be_done_is_refused() -> None:
    with pytest.raises(Unsupported, match="SCMP_ACT_NOTIFY"):
        compile_filter({"defaultAction": "SCMP_ACT_NOTIFY"}, arch="x86_64")
    with pytest.raises(Unsupported, match="riscv64"):
        compile_filter({"defaultAction": "SCMP_ACT_ALLOW"}, arch="riscv64")


def test_a_profile_beyond_the_limit_of_the_kernel_is_refused() -> None:
    rules: list[SyscallRule] = [
        {
            "names": ["read"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": value << 20, "op": "SCMP_CMP_EQ"}],
        }
        for value in range(1500)
    ]
    with pytest.raises(InvalidInput, match="4096"):
        compile_filter({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}, arch="x86_64")


def test_the_default_filter_is_short() -> None:
    for machine in ("x86_64", "aarch64"):
        assert len(compile_filter(docker_profile((), (6, 1), arch=machine), arch=machine)) // 8 < 320


def test_arm_programs_have_their_own_numbers_on_aarch64() -> None:
    profile: Seccomp = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        "syscalls": [{"names": ["openat", "cacheflush", "socketcall", "mseal"], "action": "SCMP_ACT_ALLOW"}],
    }
    program = compile_filter(profile, arch="aarch64")
    assert run(program, AUDIT["aarch64"], 56) == run(program, AUDIT["arm"], 322) == ALLOW
    assert run(program, AUDIT["arm"], 0xF0002) == run(program, AUDIT["arm"], 462) == ALLOW
    assert run(program, AUDIT["arm"], 56) == run(program, AUDIT["arm"], 102) == EPERM
    del profile["architectures"][1]
    assert run(compile_filter(profile, arch="aarch64"), AUDIT["arm"], 322) == KILL_PROCESS


NOTIFYING: Seccomp = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "listenerPath": "/agent",
    "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
}


def test_an_agent_is_asked_about_calls() -> None:
    program = compile_filter(NOTIFYING, arch="x86_64", agent=True)
    assert run(program, AUDIT["x86_64"], numbers("x86_64")["mkdir"]) == 0x7FC00000
    options = load_options({**NOTIFYING, "flags": ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG"]})
    assert options == {"seccomp_flags": 8 | 2, "seccomp_agent": {"path": "/agent", "metadata": ""}}
    assert load_options({**NOTIFYING, "syscalls": []}) == {"seccomp_flags": 0}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"listenerPath": ""}, "listenerPath"),
        ({"defaultAction": "SCMP_ACT_NOTIFY"}, "default action"),
        ({"flags": ["SECCOMP_FILTER_FLAG_NEW_LISTENER"]}, "unknown flag"),
        ({"flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"], "syscalls": []}, "SCMP_ACT_NOTIFY only"),
        ({"syscalls": [{"names": ["sendmsg"], "action": "SCMP_ACT_NOTIFY"}]}, "sendmsg must be allowed"),
        ({"defaultAction": "SCMP_ACT_ERRNO"}, "sendmsg must be allowed"),
    ],
)
def test_a_filter_that_cannot_be_loaded_so_is_refused(change: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidInput, match=word):
        load_options({**NOTIFYING, **change})  # type: ignore[typeddict-item]  # the changes are fields of a profile


def test_an_error_number_needs_an_action_that_has_one() -> None:
    with pytest.raises(InvalidInput, match="SCMP_ACT_LOG takes no error number"):
        compile_filter({"defaultAction": "SCMP_ACT_LOG", "defaultErrnoRet": 1}, arch="x86_64")
