"""features.md and features-linux.md: what the runtime says it can do is what the other tests have seen it do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conformance.harness import Runtime

pytestmark = pytest.mark.only_ours  # the peers list what they can do themselves


@pytest.fixture
def features(runtime: Runtime) -> Any:
    ran = runtime.call("features")
    assert ran.status == 0
    return json.loads(ran.stdout)


@pytest.mark.clause("features.md", "Specification version", "the range of versions is given")
def test_versions(runtime: Runtime, features: Any) -> None:
    assert (features["ociVersionMin"], features["ociVersionMax"]) == ("1.0.0", "1.3.0")
    assert runtime.ours


@pytest.mark.clause("features.md", "Mount options", "all options that are not a file system's own are listed")
def test_mount_options(runtime: Runtime, features: Any) -> None:
    assert runtime.ours
    wanted = {
        "ro",
        "rw",
        "rro",
        "rrw",
        "rbind",
        "idmap",
        "ridmap",
        "tmpcopyup",
        "rnosymfollow",
        "runbindable",
        "iversion",
    }
    assert wanted <= set(features["mountOptions"])
    assert not {"size", "mode"} & set(features["mountOptions"])


@pytest.mark.clause("features-linux.md", "Linux Features Structure", "namespaces, controllers, modules, extensions")
def test_linux(runtime: Runtime, features: Any) -> None:
    assert runtime.ours
    linux = features["linux"]
    assert set(linux["namespaces"]) == {"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"}
    assert (linux["cgroup"]["v1"], linux["cgroup"]["v2"], linux["cgroup"]["rdma"]) == (True, True, True)
    assert linux["mountExtensions"]["idmap"]["enabled"]
    assert linux["netDevices"]["enabled"]
    assert not linux["intelRdt"]["enabled"]


@pytest.mark.clause("features-linux.md", "Seccomp", "actions, operators, architectures and flags are listed")
def test_seccomp(runtime: Runtime, features: Any) -> None:
    assert runtime.ours
    seccomp = features["linux"]["seccomp"]
    assert {"SCMP_ACT_NOTIFY", "SCMP_ACT_ERRNO", "SCMP_ACT_LOG"} <= set(seccomp["actions"])
    assert len(seccomp["operators"]) == 7
    assert {"SCMP_ARCH_X86_64", "SCMP_ARCH_ARM"} <= set(seccomp["archs"])
    assert "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" in seccomp["knownFlags"]
