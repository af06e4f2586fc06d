"""Profile files: Docker's form with conditions, that of the specification, and everything that is wrong in them."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from jupyter_containers.errors import EngineError, InvalidInput
from jupyter_containers.linux.seccomp import compile_filter
from jupyter_containers.linux.seccomp_default import docker_profile
from jupyter_containers.linux.seccomp_profile import load
from tests.unit.linux.test_seccomp_default import MACHINE_NAMES, SPECIFICATION, meaning

pytestmark = pytest.mark.once


def profile(*rules: dict[str, Any], **more: Any) -> str:
    return json.dumps({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": list(rules), **more})


def names(text: str, capabilities: tuple[str, ...] = (), kernel: tuple[int, int] = (6, 1)) -> list[str]:
    return [name for rule in load(text, capabilities, kernel, arch="x86_64")["syscalls"] for name in rule["names"]]


@pytest.mark.skipif(not SPECIFICATION.exists(), reason="moby's default.json is not beside this repository")
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_mobys_own_file_gives_the_default_filter(machine: str) -> None:
    text = SPECIFICATION.read_text(encoding="utf-8")
    for capabilities in combinations(("CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_BPF"), 2):
        ours = docker_profile(capabilities, (6, 1), arch=machine)
        theirs = load(text, capabilities, (6, 1), arch=machine)
        known = MACHINE_NAMES[machine]
        assert meaning([dict(rule) for rule in theirs["syscalls"]], known) == meaning(
            [dict(rule) for rule in ours["syscalls"]], known
        )
        assert theirs["architectures"] == ours["architectures"]
        assert compile_filter(theirs, arch=machine)


@pytest.mark.parametrize(
    ("condition", "capabilities", "taken"),
    [
        ({"includes": {"caps": ["CAP_A", "CAP_B"]}}, ("CAP_A", "CAP_B"), True),
        ({"includes": {"caps": ["CAP_A", "CAP_B"]}}, ("CAP_A",), False),
        ({"excludes": {"caps": ["CAP_A"]}}, ("CAP_A",), False),
        ({"excludes": {"caps": ["CAP_A"]}}, (), True),
        ({"includes": {"arches": ["amd64"]}}, (), True),
        ({"includes": {"arches": ["arm64"]}}, (), False),
        ({"excludes": {"arches": ["amd64"]}}, (), False),
        ({"includes": {"minKernel": "6.1"}}, (), True),
        ({"includes": {"minKernel": "6.2"}}, (), False),
        ({"excludes": {"minKernel": "6.2"}}, (), True),
        ({"excludes": {"minKernel": "6.1"}}, (), False),
        ({"includes": None, "excludes": {}, "comment": "why", "args": None}, (), True),
    ],
)
def test_conditions(condition: dict[str, Any], capabilities: tuple[str, ...], taken: bool) -> None:
    rule = {"names": ["read"], "action": "SCMP_ACT_ALLOW", **condition}
    assert names(profile(rule), capabilities) == (["read"] if taken else [])


def test_one_name_and_the_architectures_of_the_specification() -> None:
    text = profile(
        {"name": "read", "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]},
        architectures=["SCMP_ARCH_X86_64"],
        defaultErrnoRet=38,
    )
    assert load(text, (), (6, 1), arch="x86_64") == {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [
            {
                "names": ["read"],
                "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}],
            }
        ],
    }


RULE = {"names": ["read"], "action": "SCMP_ACT_ALLOW"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "it is no JSON"),
        ("[]", "the profile is no object"),
        ("{}", "needs defaultAction"),
        (profile(typo=1), "unknown key 'typo'"),
        (profile(architectures=["SCMP_ARCH_X86"], archMap=[{}]), "use either 'architectures' or 'archMap'"),
        (profile(archMap=[{"arch": "x"}]), r"archMap\[0\] has the unknown key 'arch'"),
        (profile(architectures="x"), "architectures is no list"),
        (profile(syscalls={}), "syscalls is no list"),
        (profile({"action": "SCMP_ACT_ALLOW"}), r"syscalls\[0\] needs one of 'name' and 'names'"),
        (profile({**RULE, "name": "x"}), "one of 'name' and 'names'"),
        (profile({"names": [1], "action": "SCMP_ACT_ALLOW"}), "something else than texts"),
        (profile({"names": ["x"]}), "needs action"),
        (profile({**RULE, "errnoRet": "1"}), "needs errnoRet, a whole number"),
        (profile({**RULE, "args": [{"index": 0, "op": "SCMP_CMP_EQ"}]}), r"args\[0\] needs value"),
        (profile({**RULE, "args": [5]}), r"args\[0\] is no object"),
        (profile({**RULE, "includes": {"cap": []}}), r"includes has the unknown key 'cap'"),
        (profile({**RULE, "includes": {"minKernel": "six"}}), "minKernel is no version"),
        (profile(listenerPath="/x"), "listenerPath is not supported"),
    ],
)
def test_what_is_wrong_is_named(text: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        load(text, (), (6, 1), arch="x86_64")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["names", "action", "args", "index", "value", "op", "includes", "caps", "minKernel"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@hypothesis.given(json_values, json_values)
def test_any_document_is_read_or_refused(rules: Any, rest: Any) -> None:
    document = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}
    if isinstance(rest, dict):
        document |= rest
    said = "a filter"
    try:
        compile_filter(load(json.dumps(document), (), (6, 1), arch="x86_64"), arch="x86_64")
    except EngineError as error:
        said = str(error)
    assert said
