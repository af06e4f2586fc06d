"""Small files of the engine's own."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from jupyter_containers.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator


def write_file(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a small file by a temporary name, so that nobody ever sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        os.write(fd, data)
        os.fchmod(fd, mode)
    finally:
        os.close(fd)
    os.replace(temporary, path)


@contextmanager
def opened(file: BinaryIO | str | os.PathLike[str], mode: str) -> Iterator[BinaryIO]:
    """An open file, or the one of this path; a new one appears whole or not at all."""
    if not isinstance(file, str | os.PathLike):
        yield file
        return
    path = Path(file).expanduser()
    part = path.with_name(f"{path.name}.part") if mode == "wb" else path
    try:
        with part.open(mode) as stream:
            yield cast("BinaryIO", stream)
        if part != path:
            os.replace(part, path)
    except OSError as error:
        raise InvalidInput(f"cannot {'write' if mode == 'wb' else 'read'} {path}: {error.strerror}") from error
    finally:
        if part != path:
            part.unlink(missing_ok=True)


def clear_away(directory: str | os.PathLike[str]) -> None:
    """Remove a directory with what is in it, as far as possible; quickly where there are only files in it."""
    try:
        for name in os.listdir(directory):
            os.unlink(os.path.join(directory, name))
        os.rmdir(directory)
    except FileNotFoundError:  # somebody else removes it too
        return
    except OSError:
        import shutil  # noqa: PLC0415 - few have directories in them

        shutil.rmtree(directory, ignore_errors=True)
