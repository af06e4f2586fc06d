"""What is measured: a small root file system, a build context, and the Dockerfile over both."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from pathlib import Path

BASE = "bench-base"
FILES = 200
FILE_SIZE = 2_000
APPLETS = ("sh", "true", "cat", "echo", "ls", "mkdir", "rm", "wc", "grep", "sort", "touch", "sleep")

DOCKERFILE = """\
FROM {base}
ENV STAGE=bench
WORKDIR /app
COPY first.txt ./
RUN wc -c first.txt > size
COPY data/ data/
RUN ls data | wc -l > count
RUN cat size count > both
LABEL purpose=bench
CMD ["cat", "/app/both"]
"""


def busybox() -> Path:
    """The machine's BusyBox, which all compared root file systems are made of."""
    path = shutil.which("busybox", path=f"{os.environ.get('PATH', os.defpath)}:/bin:/usr/bin")
    if path is None:
        raise FileNotFoundError("busybox is not installed (package busybox-static)")
    return Path(path).resolve()


def make_root(target: Path) -> None:
    """A root file system in a directory."""
    for name in ("bin", "etc", "proc", "sys", "dev", "tmp"):
        (target / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(busybox(), target / "bin" / "busybox")
    for applet in APPLETS:
        (target / "bin" / applet).symlink_to("busybox")
    (target / "etc" / "passwd").write_text("root:x:0:0:root:/:/bin/sh\n", encoding="utf-8")
    (target / "etc" / "group").write_text("root:x:0:\n", encoding="utf-8")


def make_archive(root: Path, archive: Path) -> None:
    """The same as a tar, for engines that import one."""
    with tarfile.open(archive, "w") as tar:
        for path in sorted(root.rglob("*")):
            tar.add(path, path.relative_to(root).as_posix(), recursive=False, filter=_as_root)


def _as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def make_context(directory: Path, *, files: int = FILES) -> None:
    """A build context of small files."""
    (directory / "data").mkdir(parents=True)
    (directory / "first.txt").write_text("the first file\n", encoding="utf-8")
    for number in range(files):
        block = io.BytesIO(f"file {number}\n".encode() * 400).read(FILE_SIZE)
        (directory / "data" / f"{number:04}.txt").write_bytes(block)


def write_dockerfile(directory: Path, base: str) -> Path:
    """The Dockerfile on a base; its path."""
    path = directory / f"Dockerfile.{base}"
    path.write_text(DOCKERFILE.format(base=base), encoding="utf-8")
    return path
