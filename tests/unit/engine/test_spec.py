"""From options to the specification: what cannot be mounted is refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jupyter_containers.engine.options import RunOptions
from jupyter_containers.engine.spec import SpecInput, make_spec, sandboxing
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


@pytest.mark.parametrize("place", ["/", "//", "/x/..", "/proc", "/proc/sys", "/../proc/1"])
@pytest.mark.parametrize("kind", ["volume", "tmpfs"])
def test_the_root_and_proc_are_not_for_mounts(place: str, kind: str) -> None:
    with pytest.raises(InvalidInput, match="nothing can be mounted on /"):
        spec(**{kind: f"/tmp:{place}" if kind == "volume" else place})


def test_one_place_takes_one_mount() -> None:
    with pytest.raises(InvalidInput, match="two mounts on /x"):
        spec(volume=["/tmp:/x", "/tmp:/y"], tmpfs=["//x/"])
    places = [mount["destination"] for mount in spec(volume=["/tmp:/x", "/tmp:/y"], tmpfs=["/z"])["mounts"]]
    assert places[-3:] == ["/x", "/y", "/z"]


def test_the_shared_memory_has_a_size() -> None:
    with pytest.raises(InvalidInput, match="/dev/shm cannot be -1"):
        spec(shm_size=-1)
