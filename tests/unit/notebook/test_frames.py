from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from jupyter_containers.commands.results import (
    ChangeListing,
    ContainerListing,
    HistoryListing,
    ImageListing,
    LayerListing,
    NetworkListing,
    Samples,
    VolumeListing,
)
from jupyter_containers.engine.journal import Happening
from jupyter_containers.engine.views import ContainerStats, FileChange
from jupyter_containers.notebook import frames
from jupyter_containers.notebook.listing import Listing
from jupyter_containers.notebook.watching import watch
from jupyter_containers.oci.names import Digest
from tests.support.fake_engine import CONTAINER_ID, IMAGE_ID, MOMENT, FakeContainers, FakeEngine, FakeImages, summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@pytest.fixture
def containers() -> Listing:
    return frames.of(ContainerListing(tuple(FakeContainers([]).list(all=True))))


@pytest.fixture
def images() -> Listing:
    return frames.of(ImageListing(tuple(FakeImages([]).list(all=True))))


def test_containers_have_real_types(containers: Listing) -> None:
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


def test_units_are_told_and_travel(containers: Listing) -> None:
    assert containers.attrs["units"]["memory_limit"] == "bytes"
    assert containers[containers["state"] == "exited"].attrs["units"]["memory_limit"] == "bytes"
    assert str(containers["ran"].dtype) == "timedelta64[ns]"
    rows = frames.statistics([ContainerStats("c", "web", MOMENT, cpu_percent=1.0)])
    assert rows.attrs["units"]["cpu_percent"] == "%"


def test_how_long_a_container_ran() -> None:
    ended = summary("old", state="exited", finished=MOMENT + timedelta(seconds=90))
    frame = frames.of(ContainerListing((ended, summary("new", started=None, state="created"))))
    assert frame["ran"].tolist() == [pd.Timedelta(seconds=90), pd.NaT]
    assert "About a minute" in repr(frame)


def test_a_frame_goes_through_a_pipe(containers: Listing) -> None:
    def of_state(frame: pd.DataFrame, state: str) -> pd.DataFrame:
        return frame[frame["state"] == state]

    assert containers.pipe(of_state, "exited")["name"].tolist() == ["old"]


def test_listings_are_joined_by_id() -> None:
    chain, lan = Digest.of(b"chain"), "1" * 64
    web = summary("web", image_id=str(IMAGE_ID), layers=(str(chain),), networks={"bridge": lan, "container:db": ""})
    ps = frames.of(ContainerListing((replace(web, volumes=("data",)),)))
    images = frames.of(ImageListing((replace(FakeImages([]).rows[0], layers=(chain,)),)))
    networks = frames.of(NetworkListing(tuple(FakeEngine().networks.list())))
    volumes = frames.of(VolumeListing(tuple(FakeEngine().volumes.list(size=True))))
    layers = frames.of(LayerListing("alpine", (replace(FakeImages([]).layers("alpine")[0], chain_id=chain),)))
    stats = frames.statistics([ContainerStats(CONTAINER_ID, "web", MOMENT, memory=7, source="cgroup")])

    assert ps.merge(images, left_on="image_id", right_index=True, suffixes=("", "_image"))["tag"].tolist() == ["latest"]
    assert stats.join(ps[["image", "state"]], on="id")["image"].tolist() == ["alpine:latest"]
    assert ps.explode("networks").join(networks[["driver"]], on="networks")["driver"].tolist() == ["bridge"]
    assert ps.explode("volumes").join(volumes[["anonymous"]], on="volumes")["anonymous"].tolist() == [False]
    joined = ps.explode("layers").merge(layers, left_on="layers", right_on="chain_id", suffixes=("", "_layer"))
    assert joined["created_by"].tolist() == ["ADD rootfs.tar /"]
    joined = images.explode("layers").merge(layers, left_on="layers", right_on="chain_id", suffixes=("", "_layer"))
    assert joined["size_layer"].tolist() == [7_834_000]


def test_what_is_there_to_be_joined_by_is_not_shown(containers: Listing) -> None:
    assert {"image_id", "layers", "networks"} <= set(containers.columns)
    assert "image_id" not in repr(containers)
    assert "image_id" not in containers._repr_html_()


def test_a_hostile_name_moves_no_cursor() -> None:
    frame = frames.of(ContainerListing((summary("w\x1b[2J\u202eeb\udcff", command="a\nb"),)))
    for text in (repr(frame), frame._repr_html_()):
        assert "w\\x1b[2J\\u202eeb\\xff" in text
        assert r"a\nb" in text
        assert text.isascii() or "…" in text
        text.encode()


def test_text_is_as_wide_as_the_terminal(images: Listing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    lines = repr(images).splitlines()
    assert max(map(len, lines)) <= 60
    assert lines[-1].startswith("… and the columns ")
    assert lines[-1].endswith("labels")


def test_sizes_stay_integers(images: Listing) -> None:
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


def test_the_display_is_for_people(images: Listing) -> None:
    text = repr(images)
    assert "7.83MB" in text
    assert IMAGE_ID.short in text
    assert IMAGE_ID.hex not in text
    assert "2026-11-20 12:30:15" in text
    assert "tier=base" in text


def test_html_means_something_without_styles(containers: Listing) -> None:
    html = containers._repr_html_()
    assert "<caption>Containers: 2</caption>" in html
    assert html.count('scope="col"') == html.count("</th>") - 2
    assert re.search(r'<th scope="row"[^>]*>c0ffee000000</th>', html)
    assert "67.1MB" in html
    assert "<script" not in html
    assert "<style" not in html


def test_columns_without_values_are_not_shown(containers: Listing) -> None:
    assert ">address<" not in containers._repr_html_()
    assert "address" in containers.columns


def test_markup_in_names_is_escaped() -> None:
    frame = frames.of(ContainerListing((summary("web", command="echo <b>&"),)))
    assert "echo &lt;b&gt;&amp;" in frame._repr_html_()
    assert "<b>" not in frame._repr_html_()


def test_what_is_derived_is_still_a_frame(images: Listing) -> None:
    big = images[images["size"] > 100]
    assert isinstance(big, Listing)
    assert "<caption>Images: 1</caption>" in big._repr_html_()
    assert repr(images.describe())
    assert images.groupby("repository")["size"].sum().to_dict() == {"alpine": 7_834_000}
    assert repr(images.reset_index())
    assert repr(images.T)
    merged: pd.DataFrame = pd.concat([images, images])
    assert len(merged) == 4


def test_long_listings_are_cut_in_the_display_only() -> None:
    frame = frames.of(ContainerListing(tuple(summary(f"n{number}") for number in range(100))))
    with pd.option_context("display.max_rows", 10):
        assert repr(frame).endswith("… 90 more")
        assert "<caption>Containers: 100, the first 10 shown</caption>" in frame._repr_html_()


def test_volumes_by_name() -> None:
    frame = frames.of(VolumeListing(tuple(FakeEngine().volumes.list(size=True))))
    assert list(frame.index) == ["data", "f" * 64]
    assert frame.loc["data", "containers"] == ["db"]
    assert frame["size"].sum() == 7_012
    assert "7kB" in repr(frame)
    unmeasured = frames.of(VolumeListing(tuple(FakeEngine().volumes.list())))
    assert "size" not in repr(unmeasured)
    assert unmeasured["size"].isna().all()


def test_changes_are_categories() -> None:
    frame = frames.of(ChangeListing("web", (FileChange("added", "/a"), FileChange("deleted", "/b"))))
    assert str(frame["kind"].dtype) == "category"
    assert frame["path"].tolist() == ["/a", "/b"]
    assert "Changes of web: 2" in frame._repr_html_()


def test_a_history_of_statistics_is_indexed_by_time() -> None:
    rows = [
        ContainerStats("c", "web", MOMENT, cpu_percent=12.345, memory=2_000_000, pids=3, source="cgroup"),
        ContainerStats("c", "web", MOMENT + timedelta(seconds=1), cpu_percent=None),
    ]
    frame = frames.statistics(rows)
    assert frame.index.name == "time"
    assert frame["cpu_percent"].isna().tolist() == [False, True]
    assert "12.35" in repr(frame)
    assert "2MB" in repr(frame)
    assert frame.pivot(columns="name", values="memory")["web"].iloc[0] == 2_000_000  # noqa: PD010 - as the guide has it


def test_watching_shows_each_sample_and_keeps_all() -> None:
    published: list[tuple[str, bool]] = []
    moments = [[ContainerStats("c", "web", MOMENT, pids=number)] for number in (1, 2)]

    def samples() -> Iterator[list[ContainerStats]]:
        yield from moments
        raise KeyboardInterrupt

    def publish(bundle: Mapping[str, str], _identity: str, update: bool) -> None:
        published.append((bundle["text/html"], update))

    history = watch(Samples(samples(), lambda _rows: [], live=True), publish)
    assert history["pids"].tolist() == [1, 2]
    assert [update for _html, update in published] == [False, True, True]
    assert published[-1][0] == ""


def test_events_are_a_table() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    found = Happening(
        "volume", "mount", "kept", {"name": "x", "driver": "local"}, moment, 1_767_323_045_000_000_000, {}
    )
    frame = frames.happenings([found, found])
    assert list(frame["type"]) == ["volume", "volume"]
    assert frame["time"].dt.year.tolist() == [2026, 2026]
    assert frame["attributes"][0] == {"name": "x", "driver": "local"}
    assert "mount" in repr(frame)
    assert repr(frames.happenings([])) == "Events: none"
