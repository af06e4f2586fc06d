"""What is refused by name, and what is not."""

from __future__ import annotations

import pytest

from jupyter_containers.build import dockerfile
from jupyter_containers.errors import DockerfileError
from jupyter_containers.oci.names import Platform

AMD64 = Platform("linux", "amd64")


def missing(line: str, platform: Platform | None = None) -> str | None:
    return dockerfile.unsupported(dockerfile.parse(f"FROM a\n{line}\n").instructions[-1], platform=platform)


@pytest.mark.parametrize(
    ("line", "feature"),
    [
        ("RUN --device=x true", "RUN --device"),
        ("ONBUILD RUN --device=x true", "RUN --device"),
    ],
)
def test_refused(line: str, feature: str) -> None:
    assert missing(line) == feature


@pytest.mark.parametrize(
    "line",
    [
        "RUN true",
        "RUN --mount=type=cache,target=/x --network=none --security=insecure true",
        "COPY --link --parents --exclude=x --chmod=u+x a b",
        "ADD --link --exclude=x --checksum=sha256:0 --keep-git-dir --unpack=false a b",
        "ADD https://example.org/x git@example.org:x b",
        "RUN --network=default --security=sandbox true",
        "RUN <<E\ntrue\nE",
        "COPY --from=x --chown=1 --chmod=4755 a b",
        "COPY --link=false --parents=false a b",
        "COPY --chmod=$MODE a b",
        "COPY <<E /x\na\nE",
        "ADD --chown=1 --chmod=0644 x.tar.gz b",
        "ADD user@host.txt b",
        "ENV a=b",
        "ONBUILD RUN true",
        "HEALTHCHECK CMD true",
        "MAINTAINER x",
    ],
)
def test_allowed(line: str) -> None:
    assert missing(line) is None


def test_a_platform_is_refused_where_it_is_another() -> None:
    assert missing("FROM --platform=linux/amd64 a", AMD64) is None
    assert missing("FROM --platform=amd64 a", AMD64) is None
    assert missing("FROM --platform=$X a", AMD64) is None
    assert missing("FROM --platform=linux/arm64 a") is None
    assert missing("FROM --platform=linux/arm64 a", AMD64) == "FROM --platform=linux/arm64 on linux/amd64"
    assert missing("FROM --platform=a/b/c/d a", AMD64) == "FROM --platform=a/b/c/d on linux/amd64"


def test_the_first_one_is_reported_with_its_line() -> None:
    parsed = dockerfile.parse("FROM a\nRUN true\nRUN --device=x y\n")
    with pytest.raises(DockerfileError) as caught:
        dockerfile.require_supported(parsed.instructions)
    assert caught.value.message == "Dockerfile:3: RUN --device is not supported by this version"
    assert caught.value.text == "RUN --device=x y"
    dockerfile.require_supported(parsed.instructions[:2])
