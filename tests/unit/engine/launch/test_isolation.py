"""What --cap-add, --cap-drop, --security-opt and --privileged come to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jupyter_containers.engine.launch import isolation
from jupyter_containers.engine.launch.isolation import MASKED_PATHS, READONLY_PATHS, Sandboxing, sandboxing
from jupyter_containers.engine.options import RunOptions
from jupyter_containers.errors import EngineError, InvalidInput, NotFound, Unsupported
from jupyter_containers.linux import capabilities

if TYPE_CHECKING:
    from pathlib import Path


def read(*security: str, **more: object) -> Sandboxing:
    return sandboxing(RunOptions.of({"security_opt": list(security), **more}))


def test_a_container_is_isolated_as_dockers_is() -> None:
    found = read()
    assert tuple(found.capabilities) == tuple(sorted(capabilities.DOCKER_DEFAULT, key=capabilities.NUMBERS.__getitem__))
    assert (found.seccomp, found.profile, found.no_new_privileges, found.apparmor) == (True, "", False, "")
    assert (found.masked, found.readonly, found.writable_cgroups) == (MASKED_PATHS, READONLY_PATHS, False)


def test_a_privileged_one_is_not() -> None:
    found = read(privileged=True)
    assert tuple(found.capabilities) == capabilities.known_here()
    assert (found.seccomp, found.masked, found.readonly, found.writable_cgroups) == (False, (), (), True)
    assert read("seccomp={}", privileged=True).seccomp


def test_without_device_rules_no_node_can_be_made() -> None:
    assert "CAP_MKNOD" not in sandboxing(RunOptions(cap_add=("ALL",)), guards_devices=False).capabilities


@pytest.mark.parametrize(
    ("option", "field", "value"),
    [
        ("seccomp=unconfined", "seccomp", False),
        ("seccomp:unconfined", "seccomp", False),
        ("seccomp=builtin", "seccomp", True),
        ('seccomp={"a":"b:c=d"}', "profile", '{"a":"b:c=d"}'),
        ("no-new-privileges", "no_new_privileges", True),
        ("no-new-privileges:true", "no_new_privileges", True),
        ("no-new-privileges=false", "no_new_privileges", False),
        ("writable-cgroups", "writable_cgroups", True),
        ("apparmor=unconfined", "apparmor", ""),
        ("label=disable", "masked", MASKED_PATHS),
        ("systempaths=unconfined", "masked", ()),
        ("systempaths=unconfined", "readonly", ()),
        ("mask=/a:/b/../c", "masked", (*MASKED_PATHS, "/a", "/c")),
        ("unmask=ALL", "masked", ()),
        ("unmask=all", "readonly", ()),
        ("unmask=/proc/kcore:/proc/sys", "masked", tuple(path for path in MASKED_PATHS if path != "/proc/kcore")),
        ("unmask=/proc/kcore:/proc/sys", "readonly", tuple(path for path in READONLY_PATHS if path != "/proc/sys")),
    ],
)
def test_security_options(option: str, field: str, value: object) -> None:
    assert getattr(read(option), field) == value


@pytest.mark.parametrize(
    ("option", "kind"),
    [
        ("no-new-privileges=maybe", InvalidInput),
        ("mask=relative", InvalidInput),
        ("mask=", InvalidInput),
        ("apparmor=", InvalidInput),
        ("apparmor=docker-default", Unsupported),
        ("label=type:x", Unsupported),
        ("label=nonsense", InvalidInput),
        ("systempaths=confined", Unsupported),
        ("credentialspec=x", Unsupported),
    ],
)
def test_what_is_not_understood_or_not_here_is_refused(
    option: str, kind: type[EngineError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "_APPARMOR", "/nonexistent")
    with pytest.raises(kind) as caught:
        read(option)
    assert type(caught.value) is kind


def test_a_profile_of_apparmor_is_taken_where_there_is_apparmor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "enabled").write_text("Y\n")
    monkeypatch.setattr(isolation, "_APPARMOR", str(tmp_path / "enabled"))
    assert read("apparmor=mine").apparmor == "mine"


def test_the_content_of_a_profile_is_kept_not_its_name(tmp_path: Path) -> None:
    file = tmp_path / "p=1.json"
    file.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    given = (f"seccomp={file}", "seccomp=unconfined", "no-new-privileges")
    kept = isolation.with_profiles_read(given)
    assert kept == ('seccomp={"defaultAction": "SCMP_ACT_ALLOW"}', *given[1:])
    assert isolation.with_profiles_read(kept) == kept


def test_a_profile_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"opening seccomp profile \(.*/none\) failed: no such file"):
        isolation.with_profiles_read([f"seccomp={tmp_path}/none"])
    with pytest.raises(InvalidInput, match="names no profile"):
        isolation.with_profiles_read(["seccomp="])
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInput, match="is no text"):
        isolation.with_profiles_read([f"seccomp={tmp_path}/binary"])
    (tmp_path / "large").write_bytes(b" " * (4 * 2**20 + 1))
    with pytest.raises(InvalidInput, match="larger than 4 MiB"):
        isolation.with_profiles_read([f"seccomp={tmp_path}/large"])
