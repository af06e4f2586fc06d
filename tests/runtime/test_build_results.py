"""What builds come to: the same each time, in the forms that are asked for."""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.config import build_cache_limit as find_limit
from jupyter_containers.errors import Conflict, InvalidInput, UsageError
from jupyter_containers.events import Notice
from tests.runtime.test_build_language import build, output, reasons

if TYPE_CHECKING:
    from pathlib import Path

    from jupyter_containers.engine import Engine, Image
    from jupyter_containers.events import Event

TEXT = """FROM starter AS base
RUN mkdir -p /d/e; echo made > /d/e/f; ln -s e/f /d/link; chmod 640 /d/e/f
FROM scratch
COPY --from=base /d /d
COPY x /x
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "x").write_text("x")
    os.utime(folder / "x", (1_000_000_000, 1_000_000_000))
    return folder


def test_files_in_a_directory(engine: Engine, context: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    (target / "d").mkdir(parents=True)
    (target / "d" / "mine").write_text("kept")
    build(engine, TEXT, context, output=str(target))
    assert (target / "d" / "e" / "f").read_text() == "made\n"
    assert (target / "d" / "e" / "f").stat().st_mode & 0o777 == 0o640
    assert (target / "d" / "link").readlink().as_posix() == "e/f"
    assert (target / "d" / "mine").read_text() == "kept"


def test_archives(engine: Engine, context: Path, tmp_path: Path) -> None:
    outputs = [f"type={kind},dest={tmp_path / kind}" for kind in ("tar", "oci", "docker")]
    layout = tmp_path / "layout"
    build(engine, TEXT, context, tag="x:1", output=[*outputs, f"type=oci,tar=false,dest={layout}"])
    with tarfile.open(tmp_path / "tar") as files:
        assert sorted(files.getnames()) == ["d", "d/e", "d/e/f", "d/link", "x"]
    for kind in ("oci", "docker"):
        with tarfile.open(tmp_path / kind) as image:
            assert {"index.json", "manifest.json", "oci-layout"} <= set(image.getnames())
    assert (layout / "index.json").is_file()
    with pytest.raises(UsageError, match="needs dest"):
        build(engine, TEXT, context, output="type=tar")


def test_times_are_one_or_kept(engine: Engine, context: Path, tmp_path: Path) -> None:
    def time_of(name: str, **options: object) -> float:
        path = tmp_path / name
        build(engine, "FROM scratch\nCOPY x /x\n", context, output=f"type=tar,dest={path}", **options)
        with tarfile.open(path) as files:
            return files.getmember("x").mtime

    assert time_of("a") == 0
    assert time_of("b", build_arg={"SOURCE_DATE_EPOCH": "1234"}) == 1234
    assert time_of("c", timestamps="keep") == 1_000_000_000


def test_a_build_is_verified(engine: Engine, context: Path) -> None:
    build(engine, TEXT, context, verify=True)
    with pytest.raises(Conflict, match="not reproducible") as caught:
        build(engine, "FROM starter\nRUN mkdir /d\nRUN cat /proc/sys/kernel/random/uuid > /d/id\n", verify=True)
    assert "/d/id of RUN cat /proc/sys/kernel/random/uuid > /d/id (line 3): its line 1 is '" in caught.value.message


def test_python_code_is_compiled_to_the_same_bytes(engine: Engine, context: Path) -> None:
    (context / "m.py").write_text("x = 1\n")
    text = "FROM starter\nCOPY m.py /m/\nRUN command -v python3 >/dev/null || exit 0; python3 -m compileall -q /m\n"
    image = build(engine, text, context, verify=True)
    assert "m.py" in output(engine, image, "ls /m")


def test_a_context_on_standard_input_is_a_hit_the_second_time(engine: Engine) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in (("Dockerfile", "FROM scratch\nCOPY f /\n"), ("f", "1")):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    first = engine.builds.build(io.BytesIO(out.getvalue()))
    second = engine.builds.build(io.BytesIO(out.getvalue()))
    assert second.id == first.id
    assert second.build is not None
    assert all(step.cached for step in second.build.steps)


def test_the_cache_is_pruned_from_the_end_not_used_for_longest(engine: Engine) -> None:
    text = "FROM starter\nRUN --mount=type=cache,target=/c echo {0} > /{0}\n"
    build(engine, text.format("old"), tag="kept")
    build(engine, text.format("new"))
    other = build(engine, text.format("newest"))
    engine.images.remove(other.id)
    engine.images.remove(build(engine, text.format("new")).id)
    old, newest, new = sorted(
        (item for item in engine.builds.disk_usage() if item.type == "regular"), key=lambda item: item.used
    )
    assert [item.shared for item in (old, newest, new)] == [True, False, False]
    assert [item.uses for item in (old, newest, new)] == [0, 0, 1]
    report = engine.builds.prune(keep_storage=new.size)
    assert report.removed == (newest.id,)
    assert report.size == newest.size
    assert step_of(build(engine, text.format("new"))) == "CACHED"
    assert step_of(build(engine, text.format("old"))) == "CACHED"
    engine.builds.prune(filters=["shared=true"])
    assert output(engine, engine.images.get("kept"), "cat /old") == "old\n"
    assert step_of(build(engine, text.format("old"))) == "it was removed from the cache"
    assert engine.builds.cache_mounts()
    engine.builds.prune(all=True)
    assert engine.builds.cache_mounts() == []
    assert step_of(build(engine, text.format("new"))) != "CACHED"


def test_a_build_tells_what_is_probably_not_meant(engine: Engine) -> None:
    def notices(text: str, **arguments: str) -> list[str]:
        events: list[Event] = []
        build(engine, text, sink=events.append, build_arg=arguments)
        return [event.text for event in events if isinstance(event, Notice)]

    assert notices("FROM starter\nARG used\nRUN echo $used > /x\n", used="1", HTTP_PROXY="", BUILDKIT_X="1") == []
    assert notices('FROM starter\nRUN echo > /y\nCMD ["a"]\nCMD b\n', other="1", more="2") == [
        "2 build checks warn; 'build --check' says of what",
        "no ARG of Dockerfile takes --build-arg more, other",
    ]
    assert notices("# check=skip=JSONArgsRecommended\nFROM starter\nCMD b\n") == []
    assert notices("FROM starter\nCOPY <<'E' /a\nsay('a\\n')\nE\nCOPY <<E /b\n\\$x \\\\n\nE\n") == []
    assert notices("FROM starter\n\nCOPY <<E /a\nsay('a\\n')\nE\n") == [
        "line 3: of \\n in <<E only n is kept; <<'E' keeps the text as it is, variables too"
    ]


def test_the_cache_stays_within_its_limit(engine: Engine, monkeypatch: pytest.MonkeyPatch, store_root: Path) -> None:
    monkeypatch.setenv("JUPYTER_CONTAINERS_BUILD_CACHE", "2m")
    text = (
        "FROM starter AS base\nRUN --mount=type=cache,target=/c head -c 400000 /dev/urandom > /{0}; echo > /x\n"
        "FROM scratch\nCOPY --from=base /x /x\n"
    )
    notices: list[str] = []

    def tell(event: Event) -> None:
        if isinstance(event, Notice):
            notices.append(event.text)

    for number in range(4):
        build(engine, text.format(number), sink=tell)
    assert notices == ["the build cache was full: 1 things not used for longest went"] * 2
    assert sum(item.reclaimable for item in engine.builds.disk_usage()) <= 2 << 20
    kept = [path for path in (store_root / "content").rglob("*") if path.is_file() and path.stat().st_size > 400_000]
    assert len([path for path in kept if path.stat().st_size < 500_000]) == 2
    assert step_of(build(engine, text.format(3))) == "CACHED"
    assert step_of(build(engine, text.format(0))) == "it was removed from the cache"
    monkeypatch.setenv("JUPYTER_CONTAINERS_BUILD_CACHE", "a lot")
    with pytest.raises(InvalidInput, match="no size"):
        find_limit(store_root)


def step_of(image: Image) -> str:
    return list(reasons(image).values())[1]
