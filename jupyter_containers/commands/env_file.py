"""``--env-file`` and ``--label-file``: what Docker's command line reads before the engine is asked."""

from __future__ import annotations

from jupyter_containers.errors import InvalidInput, NotFound


def read_entries(path: str, what: str) -> list[str]:
    """The entries of such a file: ``NAME=value`` or ``NAME`` a line, ``#`` comments, quotes are literal.

    Raises
    ------
    NotFound, InvalidInput
        naming the file and the line.
    """
    try:
        with open(path, encoding="utf-8-sig") as stream:
            lines = stream.read().splitlines()
    except OSError as error:
        raise NotFound(f"cannot read the {what} {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the {what} {path} is not UTF-8 text") from error
    entries = []
    for number, line in enumerate(lines, 1):
        entry = line.lstrip()
        if not entry or entry.startswith("#"):
            continue
        name = entry.partition("=")[0]
        if not name or any(char.isspace() for char in name):
            raise InvalidInput(f"{path}:{number}: {name!r} is no name")
        entries.append(entry)
    return entries
