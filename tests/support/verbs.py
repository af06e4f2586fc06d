"""The same verbs by our command line and by Docker's, so that a test of ours is tested too."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jupyter_containers import cli
from tests.support import peers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

OURS, DOCKERD = "ours", "dockerd"


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended; the output as bytes."""

    status: int
    out: bytes
    err: str

    @property
    def lines(self) -> list[str]:
        """The output as lines of text."""
        return self.out.decode().splitlines()


@dataclass(frozen=True, slots=True)
class Program:
    """A command line of containers. ``image`` has a busybox; ``network`` are the words that give it none."""

    who: str
    command: Sequence[str]
    image: str
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(self, *words: str | Path, given: bytes = b"", cwd: Path | None = None) -> Answer:
        """Run a verb; ours in this process, unless it reads its standard input."""
        if self.who == OURS and not given and cwd is None:
            out, err = (io.TextIOWrapper(io.BytesIO(), write_through=True) for _number in range(2))
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = cli.main([str(word) for word in words])
            return Answer(status, out.buffer.getvalue(), err.buffer.getvalue().decode(errors="replace"))
        done = subprocess.run(
            [*self.command, *map(str, words)],
            input=given,
            env={**os.environ, **self.environment},
            capture_output=True,
            timeout=60,
            check=False,
            cwd=cwd,
        )
        return Answer(done.returncode, done.stdout, done.stderr.decode(errors="replace"))

    def good(self, *words: str | Path, given: bytes = b"") -> list[str]:
        """Run a verb that must go well; the lines it prints."""
        answer = self(*words, given=given)
        assert answer.status == 0, (words, answer)
        return answer.lines


def ours() -> Program:
    """Our command line on the store of the test; the image is there once it was pulled."""
    return Program(OURS, [sys.executable, "-m", "jupyter_containers"], "starter")


def dockers(peer: peers.Peer) -> Program:
    """Docker's."""
    return Program(DOCKERD, peer.command, peers.IMAGE, peer.environment)


def tar_of(entries: dict[str, str | None]) -> bytes:
    """An archive: name -> content, ``@target`` for a symbolic link, None for a directory."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            info.mode = 0o755 if content is None else 0o644
            if content is None:
                info.type = tarfile.DIRTYPE
            elif content.startswith("@"):
                info.type, info.linkname = tarfile.SYMTYPE, content[1:]
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO((content or "").encode()) if info.isreg() else None)
    return out.getvalue()


def tree_of(archive: bytes) -> dict[str, str | None]:
    """The same the other way round."""
    found: dict[str, str | None] = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for info in tar:
            content = f"@{info.linkname}" if info.issym() else None
            if info.isreg() or info.islnk():
                opened = tar.extractfile(info)
                content = opened.read().decode(errors="replace") if opened else ""
            if name := info.name.removeprefix("./").strip("/."):
                found[name] = content
    return found


def lay_out(tree: dict[str, str | None], directory: Path) -> None:
    """Make such a tree on the host."""
    for name, content in tree.items():
        path = directory / name
        if content is None:
            path.mkdir(exist_ok=True)
        elif content.startswith("@"):
            path.symlink_to(content[1:])
        else:
            path.write_text(content)


def tree_at(directory: Path) -> dict[str, str | None]:
    """What a directory of the host holds, in the same form."""
    found: dict[str, str | None] = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        found[name] = f"@{path.readlink()}" if path.is_symlink() else None if path.is_dir() else path.read_text()
    return found
