"""config.md: specification version, root, host name, annotations, and properties nobody knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conformance.harness import Bundle, Runtime


@pytest.mark.clause("config.md", "Specification version", "all versions of major version 1 up to one's own are taken")
@pytest.mark.parametrize("version", ["1.0.0", "1.0.2"])
def test_older_versions_are_compatible(runtime: Runtime, bundle: Bundle, version: str) -> None:
    bundle.spec["ociVersion"] = version
    assert runtime.run(bundle).status == 0


@pytest.mark.only_ours
@pytest.mark.clause("config.md", "Specification version", "all versions of major version 1 up to one's own are taken")
@pytest.mark.parametrize("version", ["1.1.0", "1.2.1", "1.3.0", "1.2.0-rc.1", "1.0.2-dev"])
def test_newer_versions_are_compatible(runtime: Runtime, bundle: Bundle, version: str) -> None:
    bundle.spec["ociVersion"] = version
    assert runtime.run(bundle).status == 0


@pytest.mark.clause("config.md", "Specification version", "ociVersion is of the form of SemVer 2.0.0")
@pytest.mark.deviates(runc="1.1 does not look at it", crun="1.8 takes 1.0")
@pytest.mark.parametrize("version", ["first", "1.0", "2.0.0"])
def test_a_version_of_another_form_is_an_error(runtime: Runtime, bundle: Bundle, version: str) -> None:
    bundle.spec["ociVersion"] = version
    assert runtime.run(bundle).status != 0


@pytest.mark.clause("config.md", "Root", "path is absolute, or relative to the bundle")
@pytest.mark.parametrize("absolute", [True, False])
def test_the_root_is_found(runtime: Runtime, bundle: Bundle, *, absolute: bool) -> None:
    (bundle.root / "marker").write_text("here")
    bundle.spec["root"]["path"] = str(bundle.root) if absolute else "rootfs"
    bundle.process["args"] = ["cat", "/marker"]
    assert runtime.run(bundle).lines() == ["here"]


@pytest.mark.clause("config.md", "Root", "a directory exists at path")
def test_a_missing_root_is_an_error(runtime: Runtime, bundle: Bundle) -> None:
    bundle.spec["root"]["path"] = "nowhere"
    assert runtime.run(bundle).status != 0


@pytest.mark.clause("config.md", "Root", "readonly makes the root file system read-only inside")
@pytest.mark.parametrize("readonly", [True, False])
def test_a_readonly_root(runtime: Runtime, bundle: Bundle, *, readonly: bool) -> None:
    bundle.spec["root"]["readonly"] = readonly
    bundle.script("touch /made 2>/dev/null && echo written; touch /dev/shm/x && echo mounts")
    assert runtime.run(bundle).lines() == ([] if readonly else ["written"]) + ["mounts"]


@pytest.mark.clause("config.md", "Hostname", "hostname is the host name in the container's UTS namespace")
def test_the_host_name(runtime: Runtime, bundle: Bundle) -> None:
    bundle.spec["hostname"] = "mrsdalloway"
    bundle.process["args"] = ["hostname"]
    assert runtime.run(bundle).lines() == ["mrsdalloway"]


@pytest.mark.clause("config.md", "Domainname", "domainname is the domain name in the container's UTS namespace")
@pytest.mark.deviates(runc="1.1 does not know the field")
def test_the_domain_name(runtime: Runtime, bundle: Bundle) -> None:
    bundle.spec["domainname"] = "foobarbaz.test"
    bundle.process["args"] = ["cat", "/proc/sys/kernel/domainname"]
    assert runtime.run(bundle).lines() == ["foobarbaz.test"]


@pytest.mark.clause("config.md", "Extensibility", "properties that are not known are ignored")
def test_unknown_properties_are_ignored(runtime: Runtime, bundle: Bundle) -> None:
    bundle.spec["weather"] = {"sun": True}  # type: ignore[typeddict-unknown-key]  # that is the point
    bundle.process["colour"] = "red"
    bundle.linux["moons"] = [1, 2]
    bundle.process["args"] = ["echo", "ran"]
    assert runtime.run(bundle).lines() == ["ran"]


@pytest.mark.clause("config.md", "Valid values", "a value that is not valid is an error")
@pytest.mark.only_ours
@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("terminal", "yes", "process.terminal"),
        ("env", "A=b", "process.env"),
        ("args", ["true", 1], "process.args[1]"),
        ("oomScoreAdj", 2000, "process.oomScoreAdj"),
        ("user", {"uid": -1, "gid": 0}, "process.user.uid"),
        ("rlimits", [{"type": "RLIMIT_NOFILE", "soft": 1}], "process.rlimits[0].hard"),
    ],
)
def test_a_value_of_another_type_is_an_error_that_names_its_path(
    runtime: Runtime, bundle: Bundle, field: str, value: object, path: str
) -> None:
    bundle.process[field] = value
    ran = runtime.run(bundle)
    assert ran.status != 0
    assert f"{path}:" in ran.stderr


@pytest.mark.clause("config.md", "Annotations", "annotations need not be understood, and are no error")
def test_annotations_are_no_error(runtime: Runtime, bundle: Bundle) -> None:
    bundle.spec["annotations"] = {"com.example.key": "value", "empty": ""}
    assert runtime.run(bundle).status == 0
