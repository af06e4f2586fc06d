"""Compressed streams: recognized, read, written, and reported when they are damaged."""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import lzma
import sys
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.errors import LayerCorrupt, Unsupported
from jupyter_containers.layers import compression
from jupyter_containers.layers.compression import compressor, decompressor, detect

DATA = bytes(range(256)) * 20_000


def compressed(kind: Literal["gzip", "zstd"], data: bytes, level: int | None = None) -> bytes:
    out = io.BytesIO()
    with compressor(out, kind, level=level) as stream:
        stream.write(data)
    assert not out.closed
    return out.getvalue()


SAMPLES = {
    "plain": DATA,
    "gzip": gzip.compress(DATA),
    "bzip2": bz2.compress(DATA),
    "xz": lzma.compress(DATA),
    "zstd": compressed("zstd", DATA),
}


@pytest.mark.parametrize("kind", SAMPLES)
def test_reading(kind: str) -> None:
    assert detect(SAMPLES[kind][:6]) == kind
    assert decompressor(io.BytesIO(SAMPLES[kind])).read() == DATA


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zstd"])
@pytest.mark.parametrize("cut", [1, 12, 100])
def test_a_stream_cut_off_is_reported(kind: str, cut: int) -> None:
    with pytest.raises(LayerCorrupt, match=kind):
        decompressor(io.BytesIO(SAMPLES[kind][:-cut])).read()


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zstd"])
@given(data=st.data())
def test_a_damaged_stream_is_reported_or_harmless(kind: str, data: st.DataObject) -> None:
    damaged = bytearray(SAMPLES[kind])
    damaged[data.draw(st.integers(6, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = decompressor(io.BytesIO(bytes(damaged))).read()
    except LayerCorrupt:
        return
    assert isinstance(found, bytes)


def test_several_members_are_read_as_one() -> None:
    assert decompressor(io.BytesIO(SAMPLES["gzip"] * 2)).read() == DATA * 2
    assert decompressor(io.BytesIO(SAMPLES["zstd"] * 2)).read() == DATA * 2


def test_a_skippable_frame_before_zstd() -> None:
    frame = b"\x5e\x2a\x4d\x18\x04\x00\x00\x00abcd"
    assert decompressor(io.BytesIO(frame + SAMPLES["zstd"])).read() == DATA


@given(st.binary(max_size=5000), st.sampled_from(["gzip", "zstd"]))
def test_what_is_compressed_is_read_back(data: bytes, kind: Literal["gzip", "zstd"]) -> None:
    packed = compressed(kind, data)
    assert decompressor(io.BytesIO(packed)).read() == data
    assert compressed(kind, data) == packed


def test_gzip_has_no_time_and_no_name() -> None:
    packed = compressed("gzip", DATA)
    assert packed[3] == 0
    assert packed[4:8] == bytes(4)
    assert gzip.decompress(packed) == DATA


def test_empty_streams() -> None:
    assert decompressor(io.BytesIO(b"")).read() == b""
    assert decompressor(io.BytesIO(gzip.compress(b""))).read() == b""


def test_without_isal_the_standard_library_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "isal.igzip", None)
    assert compression._gzip_module() is gzip
    packed = compressed("gzip", DATA)
    assert decompressor(io.BytesIO(packed)).read() == DATA
    with pytest.raises(LayerCorrupt):
        decompressor(io.BytesIO(packed[:-1])).read()


def test_without_a_library_for_zstd_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(Unsupported, match="zstd") as caught:
        decompressor(io.BytesIO(SAMPLES["zstd"]))
    assert caught.value.hint is not None
