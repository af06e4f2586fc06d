"""The build cache carried to another machine: by a directory, by a registry; what is not what it says is not used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jupyter_containers.engine import Engine
from jupyter_containers.errors import AlreadyExists, Unsupported, UsageError
from jupyter_containers.events import Notice
from jupyter_containers.oci.names import Reference
from jupyter_containers.registry.transfer import push
from tests.runtime.test_build_language import build, reasons
from tests.support.registry import docker_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from jupyter_containers.engine import Image
    from jupyter_containers.events import Event

TEXT = """\
FROM starter AS base
WORKDIR /w
COPY f .
RUN --mount=type=secret,id=s cat /run/secrets/s >/dev/null; head -c 20000 /dev/urandom > random
FROM scratch
COPY --from=base /w/random /random
"""
SECRET = "the secret of this test"


@pytest.fixture
def other(store_root: Path) -> Iterator[Engine]:
    with Engine(store_root.with_name(f"{store_root.name}-2")) as opened:
        yield opened


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "f").write_text("f")
    return folder


def made(engine: Engine, context: Path, notices: list[str] | None = None, **options: object) -> Image:
    def tell(event: Event) -> None:
        if notices is not None and isinstance(event, Notice):
            notices.append(event.text)

    return build(engine, TEXT, context, secret={"s": SECRET}, sink=tell, **options)


def hits(image: Image) -> list[bool]:
    return [reason == "CACHED" for text, reason in reasons(image).items() if not text.startswith("FROM")]


def blobs(directory: Path) -> dict[str, Path]:
    return {path.name: path for path in (directory / "blobs" / "sha256").iterdir()}


def test_a_directory(engine: Engine, other: Engine, context: Path, tmp_path: Path) -> None:
    place = tmp_path / "cache"
    first = made(engine, context, cache_to=f"type=local,dest={place},mode=max")
    assert not any(SECRET.encode() in path.read_bytes() for path in blobs(place).values())
    again = made(other, context, cache_from=f"type=local,src={place}")
    assert hits(again) == [True] * 4
    assert (again.id, again.digest) == (first.id, first.digest)
    assert again.build is not None
    assert again.build.verdicts["reason"].tolist()[-1] == f"from {place}"
    other.builds.prune()
    made(engine, context, cache_to=f"type=local,dest={place}")
    least = made(other, context, cache_from=[f"type=local,src={place}/nothing", f"type=local,src={place}"])
    assert hits(least) == [False] * 4  # the layers of the first stage are not in the image
    (place / "blobs" / "sha256" / f".{'ab' * 32}.123").write_text("half of a blob that a killed process left")
    before = set(blobs(place))
    (context / "f").write_text("g")
    made(engine, context, cache_to=f"type=local,dest={place},mode=max")
    assert before - set(blobs(place))
    assert all(len(name) == 64 for name in blobs(place))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    with pytest.raises(AlreadyExists):
        made(engine, context, cache_to=f"type=local,dest={tmp_path / 'mine'}")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["file"]


def test_what_is_damaged_is_not_used(engine: Engine, other: Engine, context: Path, tmp_path: Path) -> None:
    place = tmp_path / "cache"
    first = made(engine, context, cache_to=f"type=local,dest={place},mode=max")
    assert first.build is not None
    layer = blobs(place)[first.build.layers[-1].diff_id.hex]
    data = bytearray(layer.read_bytes())
    data[600] ^= 1
    layer.write_bytes(data)
    notices: list[str] = []
    again = made(other, context, notices, cache_from=f"type=local,src={place}")
    assert hits(again) == [True, True, True, False]
    assert again.id == first.id
    assert any("a step is not taken from the cache" in text for text in notices), notices
    records = min((path for path in blobs(place).values() if path.read_bytes()[:2] == b"\x1f\x8b"), key=str)
    records.write_bytes(b"\x1f\x8b" + b"poison" * 9)
    other.builds.prune()
    notices.clear()
    made(other, context, notices, cache_from=f"type=local,src={place}")
    assert any(text.startswith(f"the cache {place} is not used") for text in notices)


def test_a_registry(
    engine: Engine, other: Engine, context: Path, tmp_path: Path, need_tool: Callable[[str], str]
) -> None:
    need_tool("docker-registry")
    with docker_registry(tmp_path / "registry") as registry:
        name = f"{registry.host}/team/cache:main"
        first = made(engine, context, cache_to=f"type=registry,ref={name},mode=max")
        again = made(other, context, cache_from=name)
        assert hits(again) == [True] * 4
        assert (again.id, again.digest) == (first.id, first.digest)
        name = f"{registry.host}/team/image:1"
        text = "FROM starter\nRUN head -c 20000 /dev/urandom > /random\nRUN true\n"
        plain = build(engine, text)
        image = build(engine, text, tag=name, build_arg={"BUILDKIT_INLINE_CACHE": "1"})
        assert image.digest == build(engine, text, cache_to="type=inline").digest
        assert (image.id, image.digest == plain.digest) == (plain.id, False)
        assert image.build is not None
        push(image.build.manifest, Reference.parse(name), store=engine._parts.store)
        assert set(reasons(build(other, text, cache_from=name)).values()) == {"CACHED"}
        notices: list[str] = []
        made(other, context, notices, cache_from=f"{registry.host}/none")
        assert any("is not used" in text for text in notices)
    notices.clear()
    made(other, context, notices, cache_to=f"type=registry,ref={name},ignore-error=true")
    assert any("was not written" in text for text in notices)


@pytest.mark.parametrize(
    ("text", "error"),
    [("type=gha", Unsupported), ("type=local", UsageError), ("type=local,dest=x,mode=all", UsageError)],
)
def test_what_is_no_cache_is_refused(engine: Engine, context: Path, text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        made(engine, context, cache_to=text)
