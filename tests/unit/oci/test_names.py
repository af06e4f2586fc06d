"""Image names, digests and platforms as Docker's users write them."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.errors import InvalidDigest, InvalidInput, InvalidReference
from jupyter_containers.oci.names import Digest, Platform, Reference, chain_id

HEX = "a" * 64


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20"),
        ("user/tool", "docker.io/user/tool:latest", "user/tool:latest"),
        ("docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("index.docker.io/library/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("localhost/a", "localhost/a:latest", "localhost/a:latest"),
        ("localhost:5000/a/b:c", "localhost:5000/a/b:c", "localhost:5000/a/b:c"),
        ("127.0.0.1:5000/x", "127.0.0.1:5000/x:latest", "127.0.0.1:5000/x:latest"),
        ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
        ("quay.io/o/p", "quay.io/o/p:latest", "quay.io/o/p:latest"),
        (f"alpine@sha256:{HEX}", f"docker.io/library/alpine@sha256:{HEX}", f"alpine@sha256:{HEX}"),
        (f"alpine:1@sha256:{HEX}", f"docker.io/library/alpine:1@sha256:{HEX}", f"alpine:1@sha256:{HEX}"),
        ("a__b/c-d.e", "docker.io/a__b/c-d.e:latest", "a__b/c-d.e:latest"),
    ],
)
def test_names_are_completed_as_docker_does(text: str, full: str, familiar: str) -> None:
    reference = Reference.parse(text)
    assert str(reference) == full
    assert reference.familiar == familiar
    assert Reference.parse(full) == reference
    assert Reference.parse(familiar) == reference


@pytest.mark.parametrize(
    "text",
    ["", " alpine", "Alpine", "a//b", "/a", "a:", "a:b c", "a@", "-a", "a:.x", HEX, "a" * 300, "host:99999999/a", "a/B",
     "ünï", "a:b:c"],
)  # fmt: skip
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises((InvalidReference, InvalidDigest)):
        Reference.parse(text)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except (InvalidReference, InvalidDigest):
        return
    assert Reference.parse(str(reference)) == reference


def test_a_digest_says_what_is_wrong_with_it() -> None:
    assert Digest.of(b"x") == f"sha256:{hashlib.sha256(b'x').hexdigest()}"
    assert Digest(f"sha256:{HEX}").short == "a" * 12
    with pytest.raises(InvalidDigest, match="is not a digest"):
        Digest("hello")
    with pytest.raises(InvalidDigest, match="not supported"):
        Digest("sha512:" + "a" * 128)


def test_chain_ids_follow_the_specification() -> None:
    one, two, three = (Digest.of(name) for name in (b"1", b"2", b"3"))
    assert chain_id([one]) == one
    first = hashlib.sha256(f"{one} {two}".encode()).hexdigest()
    assert chain_id([one, two]) == f"sha256:{first}"
    assert chain_id([one, two, three]) == Digest.of(f"sha256:{first} {three}".encode())
    with pytest.raises(InvalidInput):
        chain_id([])


@pytest.mark.parametrize(
    ("text", "shown"),
    [("linux/amd64", "linux/amd64"), ("amd64", "linux/amd64"), ("x86_64", "linux/amd64"),
     ("linux/arm64/v8", "linux/arm64"), ("linux/arm", "linux/arm/v7"),
     ("linux/arm/v6", "linux/arm/v6"), ("aarch64", "linux/arm64")],
)  # fmt: skip
def test_platforms_are_normalised(text: str, shown: str) -> None:
    assert str(Platform.parse(text)) == shown


def test_what_is_no_platform_is_refused() -> None:
    with pytest.raises(InvalidInput):
        Platform.parse("linux/amd64/v1/x")


def test_a_platform_matches_its_default_variant() -> None:
    assert Platform.parse("linux/arm64").matches(Platform("linux", "arm64", "v8"))
    assert not Platform.parse("linux/arm/v6").matches(Platform.parse("linux/arm/v7"))
