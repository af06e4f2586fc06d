from __future__ import annotations

import re

import pandas as pd
import pytest

from jupyter_containers.commands.results import ContainerListing, HistoryListing, ImageListing, LayerListing
from jupyter_containers.notebook import frames
from tests.support.fake_engine import CONTAINER_ID, IMAGE_ID, MOMENT, FakeContainers, FakeImages, summary


@pytest.fixture
def containers() -> frames.Listing:
    return frames.of(ContainerListing(tuple(FakeContainers([]).list(all=True))))


@pytest.fixture
def images() -> frames.Listing:
    return frames.of(ImageListing(tuple(FakeImages([]).list(all=True))))


def test_containers_have_real_types(containers: frames.Listing) -> None:
    types = {name: str(dtype) for name, dtype in containers.dtypes.items()}
    assert containers.index.name == "id"
    assert next(iter(containers.index)) == CONTAINER_ID
    assert types["created"] == types["finished"] == "datetime64[ns, UTC]"
    assert types["state"] == "category"
    assert types["exit_code"] == types["pid"] == types["memory_limit"] == "Int64"
    assert types["name"] == "string"
    assert containers.loc[CONTAINER_ID, "created"] == pd.Timestamp(MOMENT)
    assert containers["exit_code"].isna().tolist() == [True, False]
    assert containers.loc[CONTAINER_ID, "labels"] == {"role": "front"}


def test_sizes_stay_integers(images: frames.Listing) -> None:
    assert str(images["size"].dtype) == "Int64"
    assert images["size"].sum() == 7_834_012
    assert images["created"].isna().tolist() == [False, True]
    assert next(iter(images.index)) == IMAGE_ID


def test_history_and_layers() -> None:
    history = frames.of(HistoryListing("alpine", tuple(FakeImages([]).history("alpine"))))
    assert history["id"].tolist()[0] == IMAGE_ID
    assert history["empty_layer"].tolist() == [True, False]
    layers = frames.of(LayerListing("alpine", tuple(FakeImages([]).layers("alpine"))))
    assert layers.loc[0, "shared_by"] == 2
    assert layers["size"].tolist() == [7_834_000]


@pytest.mark.parametrize(
    "listing", [ContainerListing(()), ImageListing(()), HistoryListing("a", ()), LayerListing("a", ())]
)
def test_an_empty_listing_has_its_columns_and_types(
    listing: ContainerListing | ImageListing | HistoryListing | LayerListing,
) -> None:
    frame = frames.of(listing)
    assert frame.empty
    assert len(frame.columns) >= 6
    assert repr(frame).endswith(": none")
    assert frame._repr_html_().startswith("<p>")
    if "created" in frame:
        assert str(frame["created"].dtype) == "datetime64[ns, UTC]"


def test_the_display_is_for_people(images: frames.Listing) -> None:
    text = repr(images)
    assert "7.83MB" in text
    assert IMAGE_ID.short in text
    assert IMAGE_ID.hex not in text
    assert "2026-11-20 12:30:15" in text
    assert "tier=base" in text


def test_html_means_something_without_styles(containers: frames.Listing) -> None:
    html = containers._repr_html_()
    assert "<caption>Containers: 2</caption>" in html
    assert html.count('scope="col"') == html.count("</th>") - 2
    assert re.search(r'<th scope="row"[^>]*>c0ffee000000</th>', html)
    assert "67.1MB" in html
    assert "<script" not in html
    assert "<style" not in html


def test_columns_without_values_are_not_shown(containers: frames.Listing) -> None:
    assert ">address<" not in containers._repr_html_()
    assert "address" in containers.columns


def test_markup_in_names_is_escaped() -> None:
    frame = frames.of(ContainerListing((summary("web", command="echo <b>&"),)))
    assert "echo &lt;b&gt;&amp;" in frame._repr_html_()
    assert "<b>" not in frame._repr_html_()


def test_what_is_derived_is_still_a_frame(images: frames.Listing) -> None:
    big = images[images["size"] > 100]
    assert isinstance(big, frames.Listing)
    assert "<caption>Images: 1</caption>" in big._repr_html_()
    assert repr(images.describe())
    assert images.groupby("repository")["size"].sum().to_dict() == {"alpine": 7_834_000}
    assert repr(images.reset_index())
    assert repr(images.T)
    merged = pd.concat([images, images])
    assert len(merged) == 4


def test_long_listings_are_cut_in_the_display_only() -> None:
    frame = frames.of(ContainerListing(tuple(summary(f"n{number}") for number in range(100))))
    with pd.option_context("display.max_rows", 10):
        assert repr(frame).endswith("… 90 more")
        assert "<caption>Containers: 100, the first 10 shown</caption>" in frame._repr_html_()
