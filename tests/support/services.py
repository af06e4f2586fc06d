"""nginx, PostgreSQL and Redis of Debian, in an image that root makes once and keeps for later runs, with its store.

An ordinary user makes the image of the archive that root has kept: debootstrap needs root.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench import debian
from bench.peers import NotHere
from jupyter_containers.engine import Engine
from tools.second import BASE, PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGES = ("nginx-light", "postgresql", "redis-server")
IMAGE = "services"
UNNEEDED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/i18n",
    "var/cache/apt",
    "var/lib/apt/lists",
    "usr/lib/llvm*",
    "usr/lib/*/libLLVM*",
    "usr/lib/postgresql/*/lib/bitcode",
)
# One that every run of the tests on this machine finds; what nobody used for two weeks `./dev test` removes.
PLACE = BASE / f"{PREFIX}services"
_ARCHIVE, _LOCK = "root.tar", "lock"


@contextmanager
def engine(own: Path) -> Iterator[Engine]:
    """An engine on a store with the image ``services``: root's is kept, an ordinary user's is ``own``.

    Raises ``NotHere`` with the reason when the image cannot be made: there is no package index, say.
    """
    if os.geteuid() == 0:
        PLACE.mkdir(mode=0o755, exist_ok=True)
        PLACE.chmod(0o755)
        os.utime(PLACE)
    with _locked(), Engine(PLACE / "store" if os.geteuid() == 0 else own) as opened:
        if opened.doctor().rung == "rootless-single-id":
            raise NotHere("nginx and PostgreSQL run as users of their own, for which this user has no subordinate ids")
        if IMAGE not in {row.repository for row in opened.images.list()}:
            opened.images.build(str(_archive()), dockerfile=f"FROM scratch\nADD {_ARCHIVE} /\n", tag=[IMAGE])
        yield opened


@contextmanager
def _locked() -> Iterator[None]:
    """One user of root's store at a time; ordinary users wait while root makes the archive."""
    root = os.geteuid() == 0
    if not PLACE.is_dir() or PLACE.is_symlink() or PLACE.stat().st_uid != 0 or not (root or (PLACE / _LOCK).exists()):
        raise NotHere("needs an archive with nginx, PostgreSQL and Redis, which this test makes as root")
    flags = os.O_RDWR | os.O_CREAT if root else os.O_RDONLY
    descriptor = os.open(PLACE / _LOCK, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if root else fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def _archive() -> Path:
    """The directory with the archive of the image's files, made at first."""
    directory = PLACE / "archive"
    if not (directory / _ARCHIVE).exists():
        if os.geteuid() != 0:
            raise NotHere("the archive with nginx, PostgreSQL and Redis could not be made by root here")
        directory.mkdir(mode=0o755, exist_ok=True)
        debian.make(directory / _ARCHIVE, include=PACKAGES, without=UNNEEDED)
        (directory / _ARCHIVE).chmod(0o644)
    return directory
