"""A real base: Debian's minimal system as a tar, made once by debootstrap and kept in the user's cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.peers import NotHere, find

if TYPE_CHECKING:
    from collections.abc import Sequence

_PATIENCE = 240  # seconds


def archive(cache: Path) -> Path:
    """The tar; made at the first call, which takes a minute and the network.

    Raises ``NotHere`` with the reason when it cannot be made.
    """
    target = cache / "debian.tar"
    if target.exists():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    make(target)
    return target


def make(target: Path, *, include: Sequence[str] = (), without: Sequence[str] = ()) -> None:
    """Make a tar of the minimal system with more packages, and without what these patterns match.

    Raises ``NotHere`` with the reason when it cannot be made.
    """
    if os.geteuid() != 0:
        raise NotHere("a Debian base is made by debootstrap, as root")
    program, (mirror, suite) = find("debootstrap"), _source()
    directory = Path(tempfile.mkdtemp(prefix="debian", dir=target.parent))
    root, archive = directory / "root", directory / target.name
    try:
        more = [f"--include={','.join(include)}"] if include else []
        _run([program, "--variant=minbase", *more, suite, str(root), mirror])
        for pattern in without:
            for path in root.glob(pattern):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        _run(["tar", "--numeric-owner", "-C", str(root), "-cf", str(archive), "."])
        archive.rename(target)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _source() -> tuple[str, str]:
    """The mirror and the suite that this machine's own packages come from."""
    listed = _run(
        [find("apt-get"), "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    )
    for line in listed.splitlines():
        site, release, component = line.split(" ", 2)
        if component == "main" and "-" not in release and "debian" in site:
            return site, release
    raise NotHere("apt names no mirror of Debian")


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotHere(f"{Path(command[0]).name} did not end in {_PATIENCE} s") from None
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise NotHere(f"{Path(command[0]).name}: {last}")
    return done.stdout
