"""What the newer parts of the language come to: configuration, history and files, the same for every kind of user.

``python -m tests.runtime.test_corpus_builds`` writes the ``.built`` files anew; the difference is then there for review
against the Dockerfile reference.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.engine import Engine
from tests.support import corpus, rootfs

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(not rootfs.available(), reason="needs a static busybox")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory, stores: Path) -> Iterator[corpus.Workshop]:
    root = stores / "corpus-newer"
    with Engine(root) as engine:
        yield corpus.Workshop(engine, root, tmp_path_factory.mktemp("corpus"))


@pytest.mark.parametrize("name", sorted(corpus.NEWER))
def test_case(workshop: corpus.Workshop, name: str) -> None:
    expected = (corpus.CASES / f"{name}.built").read_text(encoding="utf-8")
    assert workshop.build(name).described(workshop.base) == expected


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place, Engine(Path(place) / "store") as opened:
        made = corpus.Workshop(opened, Path(place) / "store", Path(place))
        for case in sorted(corpus.NEWER):
            (corpus.CASES / f"{case}.built").write_text(made.build(case).described(made.base), encoding="utf-8")
