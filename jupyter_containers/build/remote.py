"""What ADD and contexts fetch: files by HTTP, and git repositories by the ``git`` program.

Everything is fetched into a directory of the build, which goes with it. Keys are made from what arrives, so that a
file that did not change on the server is a hit.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import posixpath
import re
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

from jupyter_containers.errors import InvalidInput, NotFound, Unavailable, Unsupported
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from jupyter_containers.build.cancel import CancelToken

TIMEOUT: Final = 60.0
CHUNK: Final = 1 << 18
FILE_MODE: Final = 0o600
"""Of a file that ADD fetches (Dockerfile reference, "Adding files from a URL")."""

UNNAMED: Final = "__unnamed__"
"""What a file is called that has no name in its URL."""

_URL = re.compile(r"https?://", re.IGNORECASE)
_GIT = re.compile(r"(?:git|ssh|git\+ssh|git\+https?)://|git@[^:/]+:|[^/\s]+@[^/:\s]+:.*\.git(?:#|$)", re.IGNORECASE)
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SHA256 = re.compile(r"sha256:([0-9a-f]{64})")


class FetchFailed(Unavailable):
    """Something could not be fetched."""


def is_git(source: str) -> bool:
    """Whether a source names a git repository."""
    return bool(_GIT.match(source)) or bool(_URL.match(source) and urlsplit(source).path.endswith(".git"))


def is_url(source: str) -> bool:
    """Whether a source is fetched by HTTP."""
    return bool(_URL.match(source)) and not is_git(source)


def is_remote(source: str) -> bool:
    """Whether a source is fetched at all."""
    return is_git(source) or bool(_URL.match(source))


def file_name(url: str) -> str | None:
    """The name of the file that a URL names; None where it names none."""
    name = unquote(posixpath.basename(urlsplit(url).path))
    return None if name in {"", ".", ".."} or "/" in name or "\0" in name else name


def without_user(url: str) -> str:
    """A URL without the name and the password that it may hold."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _line(text: object) -> str:
    return " ".join(str(text).split())


@dataclass(frozen=True, slots=True)
class GitSource:
    """A repository, what of it, and what the commit must be (its beginning)."""

    url: str
    ref: str = ""
    subdir: str = ""
    commit: str = ""
    keep_git_dir: bool = False
    submodules: bool = True

    @classmethod
    def parse(cls, text: str) -> GitSource:
        """Read ``url#ref:subdir`` and ``url?ref=…&subdir=…`` (Dockerfile reference, "Adding Git repositories").

        Raises
        ------
        InvalidInput
            for a key that there is not, or two references.
        """
        base, _hash, fragment = text.partition("#")
        ref, _colon, subdir = fragment.partition(":")
        base = base.removeprefix("git+")
        if "://" not in base:
            return cls(base, ref, subdir)
        parts = urlsplit(base)
        query = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        names = [key for key in ("ref", "branch", "tag") if key in query]
        if unknown := query.keys() - {
            "ref",
            "branch",
            "tag",
            "subdir",
            "checksum",
            "commit",
            "keep-git-dir",
            "submodules",
        }:
            raise InvalidInput(f"unknown key {min(unknown)!r} in the address of a git repository")
        if len(names) + bool(fragment) > 1:
            raise InvalidInput("the address of a git repository names more than one reference")
        prefix = {"branch": "refs/heads/", "tag": "refs/tags/"}.get(names[0], "") if names else ""
        return cls(
            urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")),
            prefix + query[names[0]] if names else ref,
            query.get("subdir", subdir),
            query.get("checksum") or query.get("commit", ""),
            query.get("keep-git-dir", "false").lower() in {"", "1", "true"},
            query.get("submodules", "true").lower() in {"", "1", "true"},
        )


class Downloads:
    """Fetches for one build, each thing once. Thread-safe.

    Parameters
    ----------
    directory
        Makes, at first use, the directory to fetch into.
    secrets
        Those of the build: ``HTTP_AUTH_TOKEN_<host>`` and ``HTTP_AUTH_HEADER_<host>`` are sent to that host.
    """

    def __init__(self, directory: Callable[[], Path], secrets: Mapping[str, bytes], cancel: CancelToken) -> None:
        self._directory = directory
        self._secrets = secrets
        self._cancel = cancel
        self._lock = threading.Lock()
        self._root: Path | None = None
        self._done: dict[object, Path] = {}

    def _place(self) -> Path:
        self._root = self._root or self._directory()
        place = self._root / f"fetched-{len(self._done)}"
        place.mkdir(mode=0o700)
        return place

    def file(self, url: str, checksum: str = "") -> Path:
        """A file, alone in the directory that is returned.

        Raises
        ------
        NotFound, InvalidInput, FetchFailed
            when it is not there, is not what ``checksum`` says, or cannot be had.
        """
        with self._lock:
            found = self._done.get((url, checksum))
            if found is None:
                found = self._done[url, checksum] = self._fetch(url, checksum, self._place())
            return found

    def _fetch(self, url: str, checksum: str, place: Path) -> Path:
        wanted = _SHA256.fullmatch(checksum)
        if checksum and wanted is None:
            raise InvalidInput(f"invalid checksum {checksum!r}", hint="write it as sha256: and 64 digits")
        name = file_name(url) or UNNAMED
        headers = {"User-Agent": "jupyter-containers", "Accept-Encoding": "identity"}
        credentials = self._credentials(url)
        url = without_user(url)
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http or https: checked
        if credentials:
            request.add_unredirected_header("Authorization", credentials)  # for that host and no other
        digest = hashlib.sha256()
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer, open(place / name, "xb") as file:  # noqa: S310 - as above
                announced = answer.headers.get("Content-Length", "")
                while data := answer.read(CHUNK):
                    self._cancel.check()
                    digest.update(data)
                    file.write(data)
                if announced.isdigit() and file.tell() != int(announced):
                    raise FetchFailed(f"cannot fetch {url}: it ended after {file.tell()} of {announced} bytes")
        except urllib.error.HTTPError as error:
            with error:
                raise NotFound(f"cannot fetch {url}: the server says {error.code} {_line(error.reason)}") from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise FetchFailed(f"cannot fetch {url}: {_line(getattr(error, 'reason', None) or error)}") from error
        if wanted is not None and digest.hexdigest() != wanted[1]:
            raise InvalidInput(
                f"{url} is not what --checksum says: it is sha256:{digest.hexdigest()}",
                hint="the file changed on the server, or somebody changed it on the way",
            )
        os.chmod(place / name, FILE_MODE)
        return place

    def _credentials(self, url: str) -> str | None:
        host = urlsplit(url).netloc.rpartition("@")[2]
        header = self._secrets.get(f"HTTP_AUTH_HEADER_{host}")
        token = self._secrets.get(f"HTTP_AUTH_TOKEN_{host}")
        if header is not None:
            return header.decode().strip()
        if token is not None:
            return f"Bearer {token.decode().strip()}"
        user, at, _host = urlsplit(url).netloc.rpartition("@")
        return f"Basic {base64.b64encode(unquote(user).encode()).decode()}" if at else None

    def repository(self, source: GitSource) -> Path:
        """The files of a commit, in the directory that is returned.

        Raises
        ------
        Unsupported, NotFound, InvalidInput, FetchFailed
            without the ``git`` program; when there is no such reference, commit or directory; when git fails.
        """
        with self._lock:
            found = self._done.get(source)
            if found is None:
                found = self._done[source] = self._clone(source, self._place())
            return found

    def _clone(self, source: GitSource, place: Path) -> Path:
        if shutil.which("git") is None:
            raise Unsupported("git repositories need the program git", hint="install git")
        if source.url.startswith("-") or source.ref.startswith("-"):
            raise InvalidInput(f"invalid git repository {source.url!r} {source.ref!r}")
        self._git(place, "init", "--quiet")
        ref = source.ref or "HEAD"
        try:
            self._git(place, "fetch", "--quiet", "--depth=1", "--no-tags", "--", source.url, ref)
            self._git(place, "checkout", "--quiet", "--detach", "FETCH_HEAD")
        except FetchFailed:
            # Not every server knows shallow fetches, or gives out a commit by its digest.
            wanted = "+refs/heads/*:refs/remotes/origin/*" if _COMMIT.fullmatch(ref) else ref
            self._git(place, "fetch", "--quiet", "--no-tags", "--", source.url, wanted)
            self._git(place, "checkout", "--quiet", "--detach", ref if _COMMIT.fullmatch(ref) else "FETCH_HEAD")
        commit = self._git(place, "rev-parse", "HEAD").strip()
        if not commit.startswith(source.commit):
            raise InvalidInput(f"{source.url} {ref} is the commit {commit}, not {source.commit}")
        if source.submodules and (place / ".gitmodules").exists():
            self._git(place, "submodule", "--quiet", "update", "--init", "--recursive", "--depth=1")
        if not source.keep_git_dir:
            shutil.rmtree(place / ".git")
        inside = os.path.realpath(place / source.subdir.strip("/"))
        if not os.path.isdir(inside) or os.path.commonpath([inside, os.path.realpath(place)]) != os.path.realpath(
            place
        ):
            raise NotFound(f"there is no directory {source.subdir} in {source.url}")
        return place / os.path.relpath(inside, os.path.realpath(place))

    def _git(self, place: Path, *arguments: str) -> str:
        environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
        for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
            environment.pop(name, None)
        with (
            subprocess.Popen(
                ["git", "-c", "protocol.ext.allow=never", "-c", "advice.detachedHead=false", *arguments],
                cwd=place,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            ) as process,
            self._cancel.calling(process.kill),
        ):
            output, problem = process.communicate()
        self._cancel.check()
        if process.returncode:
            lines = problem.strip().splitlines() or ["it gave no reason"]
            telling = [line for line in lines if line.startswith(("fatal:", "error:", "ssh:"))]
            raise FetchFailed(f"git {arguments[0]} failed: {(telling or lines[-1:])[0]}")
        return output
