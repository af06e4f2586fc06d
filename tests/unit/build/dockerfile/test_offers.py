"""What may stand at the end of a Dockerfile."""

from __future__ import annotations

import pytest

from jupyter_containers.build.dockerfile.offers import Offer, offer


def texts(written: str) -> list[str]:
    found = offer(written)
    return sorted(f"{found.prefix}{text}" for text in found.texts if f"{found.prefix}{text}".startswith(found.word))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("FR", ["FROM"]),
        ("fr", ["from"]),
        ("FROM x\nRUN a \\\n  # why\n  FR", []),
        ("FROM x\nRUN <<END\nWOR", []),
        ("FROM x\nRUN <<END\nls\nEND\nWOR", ["WORKDIR"]),
        ("# escape=`\nFROM x\nRUN a `\n WOR", []),
        ("# FR", []),
        ("FROM x AS a\nFROM y AS b\nFROM ", ["a", "b", "scratch"]),
        ("FROM x AS a\nFROM y AS b\nCOPY --from=", ["--from=a"]),
        ("FROM x A", ["AS"]),
        ("FROM --platform=$BUILDP", ["--platform=$BUILDPLATFORM"]),
        ("FROM x\nONBUILD WOR", ["WORKDIR"]),
        ("FROM x\nONBUILD FR", []),
        ("FROM x\nONBUILD COPY --fr", ["--from="]),
        ("FROM x\nRUN --mount=type=cache,sh", ["--mount=type=cache,sharing="]),
        ("FROM x\nRUN --mount=type=cache,sharing=l", ["--mount=type=cache,sharing=locked"]),
        ("FROM x AS a\nFROM y\nRUN --mount=from=", ["--mount=from=a"]),
        ("FROM x\nRUN --mount=ro", []),
        ("FROM x\nRUN ls --mou", []),
        ("ARG V\nFROM x:$V", ["x:$V"]),
        ("ARG V\nFROM x\nRUN $V", []),
        ("FROM x AS a\nARG N\nENV P=1 Q=2\nFROM a\nRUN ${", ["${P}", "${Q}"]),
        ("FROM x\nENV OLD way\nRUN $", ["$OLD"]),
        ("FROM x\nCOPY --link=t", ["--link=true"]),
        ("FROM x\nHEALTHCHECK N", ["NONE"]),
        ("FROM x\nSTOPSIGNAL SIGT", ["SIGTERM"]),
        ("FROM x\nRUN --nothing=", []),
    ],
)
def test_words(written: str, expected: list[str]) -> None:
    assert texts(written) == expected


def test_images_and_paths_are_asked_for_where_they_may_stand() -> None:
    assert offer("FROM al").images
    assert offer("FROM x\nCOPY --from=al").images
    assert offer("FROM x\nCOPY a b").paths
    assert not offer("FROM x AS a\nFROM x\nCOPY --from=a b").paths
    assert offer("FROM x\nRUN --mount=type=bind,source=a").paths
    assert not offer("FROM x\nRUN --mount=type=cache,source=a").paths
    assert offer("") == Offer("", offer("").texts)
