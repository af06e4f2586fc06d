"""Broken and hostile input of a build: one clear error with file and line, and a store that is as it was."""

from __future__ import annotations

import gzip
import http.server
import io
import os
import shutil
import socket
import tarfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jupyter_containers.engine import Engine
from jupyter_containers.errors import (
    BlobNotFound,
    Conflict,
    DockerfileError,
    EngineError,
    InvalidInput,
    NotFound,
    PermissionDenied,
    StartFailed,
    SystemFailure,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILE, LINK, HARD, DEVICE = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE
Member = tuple[str, bytes, dict[str, Any]]


@pytest.fixture(scope="module")
def place(stores: Path) -> Iterator[tuple[Engine, Path]]:
    """One engine for all, with an image that all begin with."""
    root = stores / "bad-input"
    with Engine(root) as engine:
        engine.builds.build(dockerfile="FROM starter\nRUN true\n", network="none", tag="base")
        yield engine, root


@pytest.fixture
def expect_error(place: tuple[Engine, Path]) -> Iterator[Callable[..., EngineError]]:
    """``expect_error(kind, match, context, Dockerfile)``: build; the error, after a look at the store."""
    engine, root = place

    def build(kind: type[EngineError], match: str, context: object, text: str | None = None) -> EngineError:
        before = content(root)
        with pytest.raises(kind, match=match) as caught:
            engine.builds.build(context, dockerfile=text, network="none")  # type: ignore[arg-type]  # a test's own
        assert content(root) == before
        assert "\n" not in caught.value.message
        return caught.value

    yield build
    engine.builds.build(dockerfile="FROM base\nRUN true\n", network="none")


def content(root: Path) -> set[str]:
    """Blobs, layers, and what is half made."""
    found = set(os.listdir(root / "content/blobs/sha256"))
    for name in ("layers", "containers", "scratch"):
        directory = root / name
        found |= {entry.name for entry in os.scandir(directory) if entry.is_dir()} if directory.exists() else set()
    return found


def archive(*members: Member) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, kind, attributes in members:
            entry = tarfile.TarInfo(name)
            entry.type = kind
            for key, value in attributes.items():
                setattr(entry, key, value)
            data = name.encode() if kind == FILE else b""
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def sparse(size: int) -> bytes:
    """A file of GNU's old sparse format that says it has this many bytes, and has 512."""
    head = bytearray(archive(("s", FILE, {}))[:512])

    def number(value: int) -> bytes:
        return b"\x80" + value.to_bytes(11, "big")

    head[156:157], head[257:265], head[124:136] = b"S", b"ustar  \0", number(512)
    head[386:410], head[410:482], head[483:495] = number(size - 512) + number(512), bytes(72), number(size)
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + bytes(512) + bytes(1024)


def bomb() -> bytes:
    """A gigabyte and more of nothing in a megabyte."""
    head = archive(("zero", FILE, {}))[:512]
    entry = tarfile.TarInfo.frombuf(head, "utf-8", "strict")
    entry.size = (1 << 30) + 1
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1) as file:
        file.write(entry.tobuf(tarfile.GNU_FORMAT))
        for _ in range(1 << 6):
            file.write(bytes(1 << 16))  # the rest is cut off: what it says is enough
    return out.getvalue()


ARCHIVES: dict[str, tuple[Callable[[], bytes], str, str]] = {
    # name: the archive, what ADD says, what a build says of which it is the context ("" where it is none of both)
    "out of the root": (lambda: archive(("../../evil", FILE, {})), "outside of itself", "leaves its root"),
    "out of the root in the middle": (lambda: archive(("a/../../b", FILE, {})), "outside of itself", "leaves its root"),
    "hard link out of the root": (
        lambda: archive(("h", HARD, {"linkname": "../../etc/passwd"})),
        "outside of itself",
        "leaves its root",
    ),
    "hard link to what is not there": (
        lambda: archive(("h", HARD, {"linkname": "/etc/shadow-"})),
        "cannot be made: .*does not exist",
        "does not exist",
    ),
    "circle of links": (
        lambda: archive(("l", LINK, {"linkname": "l"}), ("l/x", FILE, {})),
        "too many levels",
        "too many symbolic links",
    ),
    "link to nothing": (lambda: archive(("l", LINK, {"linkname": ""})), "link to nothing", "link to nothing"),
    "below a file": (lambda: archive(("a", FILE, {}), ("a/b", FILE, {})), "no directory", "no directory"),
    "huge name": (lambda: archive(("n" * 300, FILE, {})), "name too long", "name too long"),
    "too deep": (lambda: archive(("/".join(["n"] * 1500), FILE, {})), "nested more than", "nested more than"),
    "huge owner": (lambda: archive(("a", FILE, {"uid": 2**40})), "owner out of range", "owner out of range"),
    "a file as root": (lambda: archive((".", FILE, {})), "in place of its root", "replace the root"),
    "cut off": (lambda: archive(("a", FILE, {}), ("b", FILE, {}))[:1300], "ends in the middle", "ends in the middle"),
    "damaged": (lambda: archive(("a", FILE, {}))[:1024] + b"garbage" * 100, "wrong checksum", "wrong checksum"),
    "bomb": (bomb, "expands to more than 1 GiB", "ends in the middle"),
    "sparse": (lambda: sparse(1 << 45), "expands to more than 1 GiB", ""),
    "marks of deletion": (lambda: archive((".wh.etc", FILE, {})), "mark deletions", "mark deletions"),
    "device of deletion": (lambda: archive(("d", DEVICE, {"devmajor": 0, "devminor": 0})), "marks deletions", ""),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive(expect_error: Callable[..., EngineError], tmp_path: Path, name: str) -> None:
    make, by_add, as_context = ARCHIVES[name]
    (tmp_path / "x.tar").write_bytes(make())
    expect_error(DockerfileError, f"(?i)^Dockerfile:2: .*{by_add}", tmp_path, "FROM base\nADD x.tar /d/\n")
    if as_context:
        expect_error(InvalidInput, f"(?i){as_context}", io.BytesIO(make()), "FROM base\nCOPY . /d/\n")


def test_entries_that_come_twice_and_links_stay_inside(place: tuple[Engine, Path], tmp_path: Path) -> None:
    data = archive(
        ("a", FILE, {}), ("b", HARD, {"linkname": "a"}), ("a", LINK, {"linkname": "/etc"}), ("a/evil", FILE, {})
    )  # fmt: skip
    (tmp_path / "x.tar").write_bytes(data)
    engine, _root = place
    engine.builds.build(
        tmp_path, dockerfile="FROM scratch\nADD x.tar /d/\n", output=f"type=tar,dest={tmp_path / 'out.tar'}"
    )
    with tarfile.open(tmp_path / "out.tar") as files:
        assert sorted(files.getnames()) == ["d", "d/a", "d/b", "etc", "etc/evil"]
        assert files.getmember("d/b").size == 1
    assert not Path("/etc/evil").exists()


DOCKERFILES: dict[str, tuple[bytes, str, type[EngineError]]] = {
    "empty": (b"", "^Dockerfile:1: file with no instructions", DockerfileError),
    "no text": (bytes(range(256)), "Dockerfile is no text: byte 128", InvalidInput),
    "UTF-16": ("FROM base\n".encode("utf-16"), "Dockerfile is no text: byte 0", InvalidInput),
    "NUL": (b"FROM base\nRUN echo \0\n", "^Dockerfile:2: RUN holds a NUL", DockerfileError),
    "NUL in JSON": (b'FROM base\nCOPY ["a", "/x\\u0000y"]\n', "^Dockerfile:2: COPY holds a NUL", DockerfileError),
    "long line": (b"FROM base\nRUN " + b"x" * 70_000, "^Dockerfile:2: line is longer than", DockerfileError),
    "nesting": (b"FROM base\nENV A=" + b"${x:-" * 5000 + b"}" * 5000, "^Dockerfile:2: .*nested more", DockerfileError),
    "variables": (
        b"FROM base\nENV A=0123456789\n" + b"ENV A=$A$A$A$A$A$A$A$A$A$A\n" * 12,
        "^Dockerfile:8: .*hold more than 1 MiB",
        DockerfileError,
    ),
    "user": (b"FROM base\nUSER nobody-here\nRUN true\n", "^Dockerfile:3: .*nobody-here", StartFailed),
    "mount": (b"FROM base\nRUN --mount=type=tmpfs,target=/bin/sh true\n", "^Dockerfile:2: .*mount", StartFailed),
    "owner": (b"FROM base\nCOPY --chown=99999999999 a /x\n", "^Dockerfile:2: .*owner out of range", DockerfileError),
    "long path": (b"FROM base\nWORKDIR /" + b"n" * 300, "^Dockerfile:2: .*too long", SystemFailure),
}


@pytest.mark.parametrize("name", DOCKERFILES)
def test_a_dockerfile(expect_error: Callable[..., EngineError], tmp_path: Path, name: str) -> None:
    data, match, kind = DOCKERFILES[name]
    (tmp_path / "a").write_text("a")
    (tmp_path / "Dockerfile").write_bytes(data)
    expect_error(kind, match, tmp_path)


def test_patterns_that_take_for_ever_elsewhere(place: tuple[Engine, Path], tmp_path: Path) -> None:
    (tmp_path / ("a" * 120)).write_text("")
    (tmp_path / ".dockerignore").write_text("*a" * 40 + "b\n")
    text = f"FROM scratch\nENV A={'a' * 120}\nENV B=${{A#{'*a' * 40}b}}\nCOPY {'*a' * 40}b a* /x/\n"
    image = place[0].builds.build(tmp_path, dockerfile=text)
    assert image.build is not None
    assert image.build.config.config is not None
    assert f"B={'a' * 120}" in (image.build.config.config.env or [])


def test_a_context_of_odd_files(expect_error: Callable[..., EngineError], tmp_path: Path) -> None:
    text = "FROM base\nCOPY {} /d/\n"
    with socket.socket(socket.AF_UNIX) as listener:
        folder = os.open(tmp_path, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{folder}/sock")
        os.close(folder)
        expect_error(
            DockerfileError, "^Dockerfile:2: .*not found in build context: sock", tmp_path, text.format("sock")
        )
    (tmp_path / "loop").symlink_to("loop")
    expect_error(DockerfileError, "^Dockerfile:2: too many levels", tmp_path, text.format("loop"))
    (tmp_path / "out").symlink_to("/etc/passwd")
    expect_error(DockerfileError, "^Dockerfile:2: .*not found in build context: out", tmp_path, text.format("out"))
    (tmp_path / os.fsdecode(b".wh.\xff")).write_text("")
    expect_error(DockerfileError, "^Dockerfile:2: .*mark deletions", tmp_path, text.format("."))
    (tmp_path / ".dockerignore").write_text("ok\n[a-\n")
    expect_error(DockerfileError, r"^\.dockerignore:2: ", tmp_path, text.format("."))
    expect_error(NotFound, "nowhere is not a directory", tmp_path / "nowhere", text.format("."))


@pytest.mark.rootless
def test_a_context_that_cannot_be_read(expect_error: Callable[..., EngineError], tmp_path: Path) -> None:
    (tmp_path / "closed").write_text("x")
    (tmp_path / "closed").chmod(0)
    expect_error(PermissionDenied, "^Dockerfile:2: cannot read closed", tmp_path, "FROM base\nCOPY . /d/\n")


def test_a_context_that_changes(expect_error: Callable[..., EngineError], tmp_path: Path) -> None:
    done = threading.Event()

    def grow() -> None:
        with open(tmp_path / "growing", "wb") as file:
            while not done.is_set():
                file.write(bytes(1 << 12))
                file.flush()

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        expect_error(Conflict, "^Dockerfile:2: .*growing'? changed while", tmp_path, "FROM base\nCOPY growing /d/\n")
    finally:
        done.set()
        thread.join()


class Server(http.server.BaseHTTPRequestHandler):
    """Answers as its path says."""

    def log_message(self, *_arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        raw = {
            "/short": b"HTTP/1.0 200 OK\r\nContent-Length: 1000\r\n\r\nx",
            "/none": b"garbage\r\n\r\n",
            "/round": b"HTTP/1.0 302 Found\r\nLocation: /round\r\n\r\n",
            "/file": b"HTTP/1.0 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n",
        }
        self.wfile.write(raw.get(self.path, b"HTTP/1.0 500 Broken\r\n\r\n"))


def test_servers(expect_error: Callable[..., EngineError]) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        answers = {
            "short": "ended after 1 of 1000 bytes", "none": "garbage", "round": "infinite loop", "file": "not allowed",
            "other": "500 Broken",
        }  # fmt: skip
        try:
            for path, match in answers.items():
                expect_error(DockerfileError, f"^Dockerfile:2: .*{match}", None, f"FROM base\nADD {url}/{path} /x/\n")
            expect_error(EngineError, "ended after 1 of 1000", f"{url}/short")
        finally:
            server.shutdown()
            thread.join()
    text = "FROM base\nADD http://me:pw@localhost:1/x /\n"
    secret = expect_error(DockerfileError, "^Dockerfile:2: cannot fetch http://localhost:1/x", None, text)
    assert "pw" not in secret.message


def test_bases(place: tuple[Engine, Path], expect_error: Callable[..., EngineError], tmp_path: Path) -> None:
    engine, root = place
    made = engine.builds.build(dockerfile="FROM scratch\nCOPY <<EOF /x\ntext\nEOF\n", tag="broken")
    assert made.build is not None
    digest = made.build.layers[0].blob.digest.partition(":")[2]
    blob, extracted = root / "content/blobs/sha256" / digest, root / "layers" / digest
    assert extracted.is_dir(), "the first layer's chain id is its diff id, and a plain layer's digest is that, too"
    data = blob.read_bytes()
    shutil.rmtree(extracted)
    blob.chmod(0o644)
    blob.write_bytes(data.replace(b"text", b"TEXT"))
    expect_error(EngineError, "^Dockerfile:2-3: layer sha256", None, "FROM broken\nCOPY <<EOF /y\nEOF\n")
    blob.rename(tmp_path / "away")
    expect_error(
        BlobNotFound, "^Dockerfile:2: blob sha256:.* is not in the content store", None, "FROM broken\nWORKDIR /y\n"
    )
    blob.write_bytes(data)
    engine.builds.build(dockerfile="FROM broken\nWORKDIR /y\n")
    expect_error(DockerfileError, "^Dockerfile:1: invalid image name", None, "FROM http://x/y\n")
    expect_error(EngineError, "^Dockerfile:1: .*localhost:1", None, "FROM localhost:1/none\n")
