"""The listings of a real store, as DataFrames that are joined by id."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from jupyter_containers.commands.results import (
    ContainerListing,
    ImageListing,
    LayerListing,
    NetworkListing,
    VolumeListing,
)
from jupyter_containers.notebook import frames

if TYPE_CHECKING:
    from jupyter_containers.engine import Engine


def test_containers_meet_their_images_layers_networks_volumes_and_statistics(engine: Engine) -> None:
    engine.images.build(dockerfile="FROM starter\nRUN echo one > /one", tag="joined")
    engine.containers.run("joined", ["sleep", "60"], name="up", detach=True, network="host", volume=["data:/data"])
    engine.containers.create("starter", ["true"], name="made", network="none", volume=["/anonymous"])
    ps = frames.of(ContainerListing(tuple(engine.containers.list(all=True))))
    images = frames.of(ImageListing(tuple(engine.images.list())))
    layers = frames.of(LayerListing("joined", tuple(engine.images.layers("joined"))))
    networks = frames.of(NetworkListing(tuple(engine.networks.list())))
    volumes = frames.of(VolumeListing(tuple(engine.volumes.list())))
    stats = frames.statistics(next(engine.containers.stats(interval=0.1, count=1)))
    engine.containers.remove("up", force=True)

    found = ps.merge(images, left_on="image_id", right_index=True, suffixes=("", "_image")).set_index("name")
    assert found["repository"].to_dict() == {"up": "joined", "made": "starter"}
    found = ps.explode("networks").join(networks[["driver"]], on="networks").set_index("name")
    assert found["driver"].to_dict() == {"up": "host", "made": "null"}
    found = ps.explode("volumes").join(volumes[["anonymous"]], on="volumes").set_index("name")
    assert found["anonymous"].to_dict() == {"up": False, "made": True}
    found = ps.explode("layers").merge(layers, left_on="layers", right_on="chain_id", suffixes=("", "_layer"))
    assert found.groupby("name")["chain_id"].nunique().to_dict() == {"up": 2, "made": 1}
    found = stats.join(ps[["image", "ran"]], on="id")
    assert found["image"].tolist() == ["joined"]
    assert found["ran"].tolist()[0] >= pd.Timedelta(0)
