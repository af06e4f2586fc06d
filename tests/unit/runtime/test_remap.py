"""The paths in overlay's options, as the snapshotter writes them."""

from __future__ import annotations

from pathlib import Path

import hypothesis
from hypothesis import strategies as st

from jupyter_containers.runtime.remap import split_paths
from jupyter_containers.snapshots.overlay import _escape


@hypothesis.given(st.lists(st.text(alphabet="ab/:\\, ", min_size=1, max_size=8), min_size=1, max_size=4))
def test_what_was_escaped_is_found_again(paths: list[str]) -> None:
    written = [Path(f"/{path}") for path in paths]
    assert split_paths(":".join(_escape(path) for path in written)) == [str(path) for path in written]
