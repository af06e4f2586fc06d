"""The files of an image by layer, of images that were really built."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from jupyter_containers.notebook import objects
from tests.support.pages import well_formed

if TYPE_CHECKING:
    from pathlib import Path

    from jupyter_containers.engine import Engine

DOCKERFILE = r"""FROM starter
RUN mkdir -p /app/old/deep && echo 123456789 > /app/a && echo gone > /app/b && echo x > /app/old/deep/c \
    && ln /app/a /app/z
RUN echo new > /app/a && rm /app/b
RUN rm -r /app/old && mkdir /app/old && echo y > /app/old/d
"""


def test_each_layer_tells_what_it_does_and_what_is_carried_in_vain(engine: Engine) -> None:
    engine.images.build(dockerfile=DOCKERFILE, tag="layered")
    found = engine.images.files("layered")
    told = {(each.layer, each.path): each for each in found.files}

    assert [layer.line for layer in found.layers] == [None, 2, 4, 5]
    assert told[1, "app/a"].change == "added"
    assert told[1, "app/a"].hidden_by == 2
    assert (told[1, "app/z"].kind, told[1, "app/z"].size, told[1, "app/z"].hidden_by) == ("link", 0, None)
    assert (told[2, "app/a"].change, told[2, "app/a"].size) == ("changed", 4)
    assert (told[2, "app/b"].change, told[2, "app/b"].size) == ("removed", 5)
    assert told[1, "app/old/deep/c"].hidden_by == 3
    assert told[3, "app/old/d"].change == "added"
    assert told[3, "app/old/d"].hidden_by is None
    # the file of ten bytes, the removed one of five, and the one of two below the directory
    assert [layer.wasted for layer in found.layers] == [0, 17, 0, 0]
    assert found.wasted == 17
    assert found.size == sum(row.size for row in engine.images.layers("layered"))
    html = well_formed(objects.files_html(found))
    assert "~ changed <code>a</code> 4B" in html
    assert "line 4 of the Dockerfile" in html


def test_the_files_that_are_seen_are_those_of_a_container(engine: Engine) -> None:
    engine.images.build(dockerfile=DOCKERFILE, tag="layered")
    files = engine.images.files("layered").files
    seen = {f"/{each.path}" for each in files if each.hidden_by is None and each.change != "removed"}
    result = engine.containers.run("layered", ["find", "/app", "-mindepth", "1"], remove=True)
    assert {path for path in seen if path.startswith("/app/")} == set(result.stdout.split())  # type: ignore[union-attr]


def test_the_verb_prints_layers_and_files(engine: Engine, store_root: Path) -> None:
    engine.images.build(dockerfile=DOCKERFILE, tag="layered")
    command = [sys.executable, "-m", "jupyter_containers.cli", "layers", "--files", "layered"]
    environment = os.environ | {"JUPYTER_CONTAINERS_ROOT": str(store_root)}
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=environment)
    assert "17B of " in ran.stdout
    assert any(line.split() == ["2", "removed", "file", "5B", "app/b"] for line in ran.stdout.splitlines())
