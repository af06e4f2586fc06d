"""What a build is given, as people write it: contexts, Dockerfiles, secrets, agents, hosts."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, TypeAlias

from jupyter_containers.build import archive, remote
from jupyter_containers.build.cancel import CancelToken
from jupyter_containers.build.remote import Downloads, GitSource
from jupyter_containers.errors import InvalidInput, LayerCorrupt, NotFound, UsageError
from jupyter_containers.layers import compression
from jupyter_containers.layers.base import ApplyOptions
from jupyter_containers.layers.trees import LocalTrees
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

ContextSource: TypeAlias = "str | os.PathLike[str] | BinaryIO"

_GATEWAY: Final = "host-gateway"


@dataclass(frozen=True, slots=True)
class Given:
    """A context that is there: its directory (None: there is none), and a Dockerfile that came in its place."""

    directory: Path | None
    identity: str = ""
    dockerfile: str | None = None


def open_context(source: ContextSource | None, temporary: Callable[[], Path], secrets: Mapping[str, bytes]) -> Given:
    """The build context: a folder, an archive or a Dockerfile as a stream or behind a URL, a git repository.

    ``temporary`` makes a directory for what is fetched or extracted; everything in it belongs to the user.

    Raises
    ------
    NotFound, InvalidInput, Unavailable
        when there is none, or it is none.
    """
    if source is None:
        return Given(None)
    if not isinstance(source, str | os.PathLike):
        return _stream(source, temporary, "-")
    text = os.fspath(source)
    if remote.is_git(text):
        downloads = Downloads(temporary, secrets, CancelToken())
        return Given(downloads.repository(GitSource.parse(text)), text)
    if remote.is_url(text):
        directory = Downloads(temporary, secrets, CancelToken()).file(text)
        with open(directory / os.listdir(directory)[0], "rb") as file:
            return _stream(file, temporary, text)
    return Given(folder(text))


def _stream(stream: BinaryIO, temporary: Callable[[], Path], identity: str) -> Given:
    """An archive becomes a directory, anything else is a Dockerfile."""
    directory = temporary()
    spooled = directory / "context.tar"
    with open(spooled, "xb") as file:
        shutil.copyfileobj(stream, file)
    where = "on standard input" if identity == "-" else f"behind {identity}"
    if not archive.is_archive(spooled):
        with open(spooled, "rb") as file:
            if compression.detect(file.read(6)) != "plain":
                raise InvalidInput(f"the build context {where} is no archive, or a damaged one")
        return Given(None, identity, decode(spooled.read_bytes(), f"the Dockerfile {where}"))
    target = directory / "context"
    limit = archive.expansion_limit(spooled.stat().st_size)
    try:
        with open(spooled, "rb") as file:
            LocalTrees().apply(file, target, ApplyOptions(max_bytes=limit, whiteouts=False))
    except LayerCorrupt as error:
        raise InvalidInput(f"the build context {where} cannot be unpacked: {error.message}") from error
    spooled.unlink()
    return Given(target, identity)


def folder(text: str) -> Path:
    """A directory of the user's.

    Raises
    ------
    NotFound
        when it is none.
    """
    path = Path(text).expanduser()
    if not path.is_dir():
        raise NotFound(f"the build context {text} is not a directory", hint="give the folder that COPY reads from")
    return path.resolve()


def decode(data: bytes, name: str) -> str:
    """The text of a Dockerfile."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{name} is no text: byte {error.start} is not UTF-8", hint="save it with the encoding UTF-8"
        ) from error


def find_dockerfile(
    context: Path | None, text: str | None, file: str | os.PathLike[str] | None
) -> tuple[str, str, Path | None]:
    """The text of the Dockerfile, its name, and the file it was read from."""
    if text is not None:
        if file is not None:
            raise UsageError("give the Dockerfile as text or as a file, not both")
        return text, "Dockerfile", None
    if file is not None:
        candidates = [Path(file).expanduser()]
        if context is not None and not candidates[0].is_absolute():
            candidates.append(context / file)
    elif context is not None:
        candidates = [context / "Dockerfile", context / "Containerfile"]
    else:
        raise UsageError("nothing to build", hint="give a folder with a Dockerfile, or the text of one")
    for candidate in candidates:
        if candidate.is_file():
            try:
                return decode(candidate.read_bytes(), str(candidate)), candidate.name, candidate
            except OSError as error:
                raise InvalidInput(f"cannot read {candidate}: {error.strerror}") from error
    raise NotFound(f"there is no Dockerfile at {candidates[0]}", hint="write one there, or name it with --file")


def read_secrets(given: Mapping[str, bytes | str] | Iterable[str] | None) -> dict[str, bytes]:
    """``id=NAME[,src=FILE|,env=VARIABLE]``, or contents by id.

    Raises
    ------
    NotFound, InvalidInput, UsageError
        when one cannot be read. No message holds what is in it.
    """
    if given is None:
        return {}
    if hasattr(given, "items"):
        return {name: value.encode() if isinstance(value, str) else bytes(value) for name, value in given.items()}
    found: dict[str, bytes] = {}
    for text in given:
        fields = dict(_field(part) for part in text.split(","))
        name = fields.get("id", "")
        kind = fields.get("type", "file")
        if not name or fields.keys() - {"id", "src", "source", "env", "type"} or kind not in {"file", "env"}:
            raise UsageError(f"invalid secret {text!r}", hint="write it as id=NAME,src=FILE or id=NAME,env=VARIABLE")
        file = fields.get("src", fields.get("source"))
        variable = fields.get("env") or (file if kind == "env" else None)
        if variable is None and file is None and name in os.environ:
            variable = name
        if variable is not None:
            if variable not in os.environ:
                raise NotFound(f"the secret {name} is to come from {variable}, which is not set")
            found[name] = os.environb[variable.encode()]
            continue
        try:
            found[name] = Path(file or name).expanduser().read_bytes()
        except OSError as error:
            raise NotFound(f"cannot read the secret {name} from {file or name}: {error.strerror}") from error
    return found


def _field(part: str) -> tuple[str, str]:
    key, _equals, value = part.partition("=")
    return key.strip(), value


def find_agents(given: Sequence[str]) -> dict[str, Path]:
    """``--ssh default|ID[=SOCKET]``.

    Raises
    ------
    NotFound, InvalidInput
        when there is no agent, or something else is given: keys are not read here.
    """
    found: dict[str, Path] = {}
    for text in given:
        name, _equals, socket = text.partition("=")
        socket = socket or os.environ.get("SSH_AUTH_SOCK", "")
        if not socket:
            raise NotFound("no SSH agent is running", hint="start one: eval $(ssh-agent); ssh-add")
        path = Path(socket).expanduser()
        if not path.is_socket():
            raise InvalidInput(
                f"{socket} is no socket of an SSH agent", hint="add the key to an agent and give its socket"
            )
        found[name or "default"] = path
    return found


def read_hosts(given: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """``--add-host name:address``; builds use the host's network, so ``host-gateway`` is the host itself."""
    hosts = []
    for text in given:
        match = re.fullmatch(r"([^:=\s]+)[:=]\[?([0-9A-Fa-f.:]+|host-gateway)\]?", text)
        if match is None:
            raise UsageError(f"invalid host {text!r}", hint="write it as NAME:ADDRESS")
        hosts.append((match[1], "127.0.0.1" if match[2] == _GATEWAY else match[2]))
    return tuple(hosts)
