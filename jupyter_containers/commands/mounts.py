"""``--mount`` and ``--env-file``: what Docker's command line reads before the engine is asked."""

from __future__ import annotations

import csv
import os

from jupyter_containers.errors import InvalidInput, NotFound, Unsupported, UsageError

_MOUNT_KEYS = {
    "type": "type",
    "source": "source",
    "src": "source",
    "target": "target",
    "dst": "target",
    "destination": "target",
    "readonly": "readonly",
    "ro": "readonly",
    "tmpfs-size": "size",
    "tmpfs-mode": "mode",
}


def read_mount(text: str) -> tuple[str, str]:
    """Translate ``type=bind,source=/a,target=/b,readonly``: ``("volume", "/a:/b:ro")`` or ``("tmpfs", "/b:size=64m")``.

    Unlike ``-v``, a bind whose source does not exist is refused.

    Raises
    ------
    UsageError, Unsupported, NotFound
        naming the key or the type.
    """
    given: dict[str, str] = {}
    for part in next(csv.reader([text])):
        key, equals, value = part.partition("=")
        if key not in _MOUNT_KEYS:
            raise Unsupported(f"--mount does not take {key!r}", hint="use type, source, target, readonly, tmpfs-size")
        given[_MOUNT_KEYS[key]] = value if equals else "true"
    kind, source, target = given.get("type", "volume"), given.get("source", ""), given.get("target", "")
    if not target.startswith("/"):
        raise UsageError(f"--mount {text!r} needs target=PATH, an absolute path in the container")
    if kind == "tmpfs":
        options = ",".join(f"{name}={given[name]}" for name in ("size", "mode") if name in given)
        return "tmpfs", f"{target}:{options}" if options else target
    if kind != "bind":
        raise Unsupported(f"--mount type={kind} is not there yet", hint="use type=bind or type=tmpfs")
    if not source:
        raise UsageError(f"--mount {text!r} needs source=PATH")
    source = os.path.abspath(os.path.expanduser(source))
    if not os.path.exists(source):
        raise NotFound(f"the source of the bind mount does not exist: {source}")
    return "volume", f"{source}:{target}" + (":ro" if given.get("readonly") in {"1", "true"} else "")


def read_env_file(path: str) -> list[str]:
    """The entries of an ``--env-file``: ``NAME=value`` or ``NAME`` a line, ``#`` comments, quotes are literal.

    Raises
    ------
    NotFound, InvalidInput
        naming the file and the line.
    """
    try:
        with open(path, encoding="utf-8-sig") as stream:
            lines = stream.read().splitlines()
    except OSError as error:
        raise NotFound(f"cannot read the environment file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the environment file {path} is not UTF-8 text") from error
    entries = []
    for number, line in enumerate(lines, 1):
        entry = line.lstrip()
        if not entry or entry.startswith("#"):
            continue
        name = entry.partition("=")[0]
        if not name or any(char.isspace() for char in name):
            raise InvalidInput(f"{path}:{number}: {name!r} is not the name of a variable")
        entries.append(entry)
    return entries
