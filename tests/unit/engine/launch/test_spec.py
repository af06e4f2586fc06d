"""From options to the specification: what cannot be mounted is refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jupyter_containers.engine.launch.isolation import sandboxing
from jupyter_containers.engine.launch.spec import SpecInput, make_spec
from jupyter_containers.engine.options import RunOptions
from jupyter_containers.errors import InvalidInput

if TYPE_CHECKING:
    from jupyter_containers.oci.runtime_spec import Spec


def spec(**keywords: object) -> Spec:
    options = RunOptions.of(keywords)
    return make_spec(
        SpecInput(
            args=["true"],
            env=[],
            cwd="/",
            hostname="h",
            network="none",
            sandboxing=sandboxing(options),
            options=options,
            rootless=False,
            cgroups_path="c",
            root="/r",
        )
    )


def test_the_shared_memory_has_a_size() -> None:
    with pytest.raises(InvalidInput, match="/dev/shm cannot be -1"):
        spec(shm_size=-1)
