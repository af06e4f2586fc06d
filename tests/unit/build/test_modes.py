"""Modes as chmod(1) reads them."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupyter_containers.build.modes import parse_mode
from jupyter_containers.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

CLAUSES = st.lists(
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["u", "g", "o", "a", "ug", "go", "ugo"]),
        st.sampled_from("+-="),
        st.sampled_from(["", "r", "w", "x", "rw", "rwX", "X", "s", "u", "g", "o", "rx"]),
    ),
    min_size=1,
    max_size=3,
).map(",".join)


@given(mode=st.integers(0, 0o7777), text=CLAUSES, directory=st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_like_chmod(tmp_path: Path, mode: int, text: str, directory: bool) -> None:
    target = tmp_path / ("d" if directory else "f")
    if directory:
        target.mkdir(exist_ok=True)
    else:
        target.touch()
    target.chmod(mode)
    before = target.stat().st_mode & 0o7777
    subprocess.run(["chmod", text, str(target)], check=True)
    assert oct(parse_mode(text)(before, directory)) == oct(target.stat().st_mode & 0o7777)


def test_octal_and_for_all() -> None:
    assert parse_mode("640")(0o777, False) == 0o640
    assert parse_mode("+x")(0o644, False) == 0o755
    assert parse_mode("+t")(0o777, True) == 0o1777


@pytest.mark.parametrize("text", ["", "888", "u", "u=q", "x", "u=r,", "12345"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(InvalidInput, match="invalid mode"):
        parse_mode(text)
