from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jupyter_containers.commands.mounts import read_env_file, read_mount
from jupyter_containers.errors import InvalidInput, NotFound, Unsupported, UsageError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_bind_mount_becomes_a_volume(tmp_path: Path) -> None:
    assert read_mount(f"type=bind,source={tmp_path},target=/data") == ("volume", f"{tmp_path}:/data")
    assert read_mount(f"type=bind,src={tmp_path},dst=/data,ro") == ("volume", f"{tmp_path}:/data:ro")
    assert read_mount(f"type=bind,src={tmp_path},dst=/data,readonly=false") == ("volume", f"{tmp_path}:/data")


def test_a_mount_in_memory_keeps_its_options() -> None:
    assert read_mount("type=tmpfs,target=/scratch") == ("tmpfs", "/scratch")
    assert read_mount("type=tmpfs,target=/s,tmpfs-size=64m,tmpfs-mode=1777") == ("tmpfs", "/s:size=64m,mode=1777")


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("type=bind,source=/nowhere/at/all,target=/x", NotFound, "does not exist: /nowhere/at/all"),
        ("type=bind,source=/,colour=red,target=/x", Unsupported, "'colour'"),
        ("type=volume,source=data,target=/x", Unsupported, "type=volume"),
        ("type=bind,source=/", UsageError, "target"),
        ("type=bind,source=/,target=x", UsageError, "absolute"),
        ("type=bind,target=/x", UsageError, "source"),
    ],
)
def test_what_is_not_there_is_refused_by_name(text: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        read_mount(text)


def test_an_environment_file_is_read_literally(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text('\ufeffA=1\n# no\n\n  B="quoted" \nC=\nD\nE=x=y # no comment\n', encoding="utf-8")
    assert read_env_file(str(file)) == ["A=1", 'B="quoted" ', "C=", "D", "E=x=y # no comment"]


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("A=1\nB C=2\n")
    with pytest.raises(InvalidInput, match=r"env:2: 'B C'"):
        read_env_file(str(file))
    file.write_bytes(b"\xff\xfe=1")
    with pytest.raises(InvalidInput, match="UTF-8"):
        read_env_file(str(file))
    with pytest.raises(NotFound, match="missing"):
        read_env_file(str(tmp_path / "missing"))
