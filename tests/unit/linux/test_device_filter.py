from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.linux.device_filter import compile_rules

if TYPE_CHECKING:
    from jupyter_containers.oci.runtime_spec import DeviceCgroup

BITS = {"m": 1, "r": 2, "w": 4}


def run(program: bytes, kind: str, major: int, minor: int, access: str) -> bool:
    """What the kernel would do: an interpreter of the instructions that are used."""
    bits = sum(BITS[letter] for letter in access)
    context = struct.pack("=III", bits << 16 | {"b": 1, "c": 2}[kind], major, minor)
    code = list(struct.iter_unpack("=BBhi", program))
    registers = [0] * 11
    at = 0
    while True:
        op, both, offset, value = code[at]
        target, source = both & 15, both >> 4
        at += 1
        match op:
            case 0x61:
                assert source == 1
                (registers[target],) = struct.unpack_from("=I", context, offset)
            case 0xBC:
                registers[target] = registers[source]
            case 0xB7:
                registers[target] = value
            case 0x74:
                registers[target] >>= value
            case 0x54:
                registers[target] &= value
            case 0x56:
                at += offset if registers[target] != value else 0
            case 0x16:
                at += offset if registers[target] == value else 0
            case 0x95:
                return bool(registers[0])
            case _:
                raise AssertionError(f"no such instruction: {op:#x}")


def expected(rules: list[DeviceCgroup], kind: str, major: int, minor: int, access: str) -> bool:
    """The rules, read literally, the last one first."""
    for rule in reversed(rules):
        if rule.get("type", "a") not in {"a", kind}:
            continue
        if rule.get("type", "a") != "a" and (rule.get("major", major), rule.get("minor", minor)) != (major, minor):
            continue
        covered = set(access) <= set(rule["access"]) if rule["allow"] else set(access) & set(rule["access"])
        if covered:
            return rule["allow"]
    return True


ACCESS = st.sets(st.sampled_from("rwm"), min_size=1).map(lambda letters: "".join(sorted(letters)))


@st.composite
def a_rule(draw: st.DrawFn) -> DeviceCgroup:
    rule: DeviceCgroup = {"allow": draw(st.booleans()), "access": draw(ACCESS)}
    if draw(st.booleans()):
        rule["type"] = draw(st.sampled_from("abc"))
        if draw(st.booleans()):
            rule["major"] = draw(st.integers(0, 2))
        if draw(st.booleans()):
            rule["minor"] = draw(st.integers(0, 2))
    return rule


@given(st.lists(a_rule(), max_size=6), st.sampled_from("bc"), st.integers(0, 2), st.integers(0, 2), ACCESS)
def test_the_last_rule_that_speaks_of_a_device_decides(
    rules: list[DeviceCgroup], kind: str, major: int, minor: int, access: str
) -> None:
    assert run(compile_rules(rules), kind, major, minor, access) == expected(rules, kind, major, minor, access)


def test_no_rules_allow_everything() -> None:
    assert run(compile_rules([]), "b", 8, 0, "rwm")


def test_nothing_follows_a_rule_that_always_decides() -> None:
    denied: DeviceCgroup = {"allow": False, "access": "rwm"}
    last: DeviceCgroup = {"allow": True, "type": "c", "major": 1, "access": "rwm"}
    assert compile_rules([last, denied]) == compile_rules([denied])
    assert compile_rules([denied])[-16:] == struct.pack("=BBhiBBhi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0)
