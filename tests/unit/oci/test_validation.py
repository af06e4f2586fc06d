"""What is a configuration and what is not, by the path of the field that is wrong."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.errors import InvalidInput
from jupyter_containers.linux.capabilities import NAMES
from jupyter_containers.oci import validation
from tests.support import rootfs


def document() -> Any:
    spec = copy.deepcopy(rootfs.spec("rootfs", "true"))
    spec["process"]["user"] = {"uid": 0, "gid": 0}
    return spec


def put(target: Any, path: str, value: object) -> Any:
    """Set a field of a document by its path, as errors write it: ``process.rlimits[0].soft``."""
    *parents, last = path.replace("[", ".[").split(".")
    for part in parents:
        target = target[int(part[1:-1])] if part.startswith("[") else target.setdefault(part, {})
    if last.startswith("["):
        target[int(last[1:-1])] = value
    else:
        target[last] = value
    return target


def test_a_usual_configuration_is_valid() -> None:
    assert validation.validate(document(), NAMES) == document()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("ociVersion", "2.0.0"),
        ("ociVersion", "one"),
        ("root", None),
        ("root.path", ""),
        ("root.readonly", "true"),
        ("hostname", 5),
        ("annotations", ["x"]),
        ("mounts[0].destination", None),
        ("mounts[1].options", "ro"),
        ("mounts[1].options[0]", 1),
        ("process.args", []),
        ("process.args[0]", "a\0b"),
        ("process.cwd", "x"),
        ("process.terminal", 1),
        ("process.consoleSize", {"height": 1}),
        ("process.user.uid", 2**32 - 1),
        ("process.user.umask", 0o10000),
        ("process.user.additionalGids", [-1]),
        ("process.rlimits", [{"type": "RLIMIT_x", "soft": 1, "hard": 1}]),
        ("process.oomScoreAdj", 1001),
        ("process.oomScoreAdj", True),
        ("process.scheduler", {}),
        ("process.ioPriority", {"priority": 1}),
        ("process.execCPUAffinity", {"initial": "all"}),
        ("linux.namespaces", [{}]),
        ("linux.uidMappings", [{"containerID": 0, "hostID": 0}]),
        ("linux.uidMappings", [{"containerID": 0, "hostID": 0, "size": 1}]),
        ("linux.devices", [{"path": "/dev/x", "type": "d"}]),
        ("linux.devices", [{"path": "/dev/x", "type": "c"}]),
        ("linux.maskedPaths", ["proc"]),
        ("linux.sysctl", {"net.ipv4.ip_forward": 1}),
        ("linux.personality", {}),
        ("linux.resources", {"memory": {"limit": -2}}),
        ("linux.resources", {"memory": {"swappiness": 101}}),
        ("linux.resources", {"cpu": {"idle": 2}}),
        ("linux.resources", {"pids": {"limit": "many"}}),
        ("linux.resources", {"pids": {}}),
        ("linux.resources", {"devices": [{"access": "r"}]}),
        ("linux.resources", {"devices": [{"allow": True, "access": "x"}]}),
        ("linux.resources", {"hugepageLimits": [{"pageSize": "2 MB", "limit": 1}]}),
        ("linux.resources", {"blockIO": {"throttleReadBpsDevice": [{"major": 1, "minor": 1}]}}),
        ("linux.seccomp", {"syscalls": []}),
        ("linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [], "action": "x"}]}),
        ("linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}),
        ("hooks", {"poststop": [{"path": "relative"}]}),
    ],
)
def test_the_error_names_the_path(path: str, value: object) -> None:
    wrong = document()
    put(wrong, path, value)
    with pytest.raises(InvalidInput) as caught:
        validation.validate(wrong, NAMES)
    assert str(caught.value).startswith(path.split("[", maxsplit=1)[0])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("resources", "text"),
    [
        ({"cpu": {"quota": 100, "burst": 200}}, "resources.cpu.burst: 200 is above the quota 100"),
        ({"rdma": {"mlx5_1": {}}}, "resources.rdma.mlx5_1: needs hcaHandles or hcaObjects"),
        ({"blockIO": {"weightDevice": [{"major": 8, "minor": 0}]}}, "weightDevice[0]: needs weight or leafWeight"),
    ],
)
def test_what_must_go_together(resources: dict[str, Any], text: str) -> None:
    wrong = document()
    wrong["linux"]["resources"] = resources
    with pytest.raises(InvalidInput) as caught:
        validation.validate(wrong, NAMES)
    assert text in str(caught.value)
    with pytest.raises(InvalidInput):
        validation.validate_resources(resources)


def test_null_is_as_good_as_missing_and_unknown_fields_stay() -> None:
    given_document = document()
    given_document["mounts"] = None
    given_document["linux"]["seccomp"] = None
    given_document["weather"] = "fine"
    found: Any = validation.validate(given_document, NAMES)
    assert "mounts" not in found
    assert "seccomp" not in found["linux"]
    assert found["weather"] == "fine"


def test_capabilities_that_cannot_be_had_are_warned_of_and_left_out() -> None:
    spec = document()
    spec["process"]["capabilities"]["bounding"].append("CAP_FLY")
    spec["process"]["capabilities"]["ambient"] = ["CAP_KILL"]
    warnings: list[str] = []
    found = validation.validate(spec, NAMES, warnings.append)
    assert "CAP_FLY" not in found["process"]["capabilities"]["bounding"]
    assert [warning.partition(" is ")[0] for warning in warnings] == [
        "process.capabilities.bounding: CAP_FLY",
        "process.capabilities.ambient: CAP_KILL",
    ]


def test_paths_of_the_bundle_become_absolute() -> None:
    spec = document()
    spec["mounts"] = [
        {"destination": "/a", "source": "data", "options": ["rbind"]},
        {"destination": "/b", "source": "/data", "options": ["bind"]},
        {"destination": "/c", "source": "tmpfs", "type": "tmpfs"},
    ]
    found = validation.resolve(spec, "/bundle/")
    assert found["root"]["path"] == "/bundle/rootfs"
    assert [mount["source"] for mount in found["mounts"]] == ["/bundle/data", "/data", "tmpfs"]
    assert spec["mounts"][0]["source"] == "data"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)
_FIELDS = [
    "process",
    "process.user",
    "process.capabilities",
    "process.rlimits",
    "root",
    "mounts",
    "mounts[0]",
    "linux",
    "linux.resources",
    "linux.resources.cpu",
    "linux.seccomp",
    "linux.devices",
    "linux.namespaces",
    "hooks",
]


@given(st.sampled_from(_FIELDS), _JSON)
def test_whatever_a_document_holds_is_valid_or_an_error_in_one_line(path: str, value: object) -> None:
    spec = document()
    put(spec, path, value)
    try:
        validation.validate(spec, NAMES)
    except InvalidInput as error:
        assert ": " in str(error)  # noqa: PT017 - it may also be valid
