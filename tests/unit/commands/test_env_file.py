from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jupyter_containers.commands.env_file import read_entries
from jupyter_containers.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from pathlib import Path


def test_an_environment_file_is_read_literally(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text('\ufeffA=1\n# no\n\n  B="quoted" \nC=\nD\nE=x=y # no comment\n', encoding="utf-8")
    assert read_entries(str(file), "environment file") == ["A=1", 'B="quoted" ', "C=", "D", "E=x=y # no comment"]


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("A=1\nB C=2\n")
    with pytest.raises(InvalidInput, match=r"env:2: 'B C'"):
        read_entries(str(file), "environment file")
    file.write_bytes(b"\xff\xfe=1")
    with pytest.raises(InvalidInput, match="UTF-8"):
        read_entries(str(file), "environment file")
    with pytest.raises(NotFound, match="missing"):
        read_entries(str(tmp_path / "missing"), "environment file")
