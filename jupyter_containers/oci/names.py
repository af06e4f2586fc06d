"""Digests, image references and platforms, in the forms that Docker's users write them."""

from __future__ import annotations

import hashlib
import re
from typing import Self

from jupyter_containers.errors import InvalidDigest, InvalidInput, InvalidReference
from jupyter_containers.records import dataclass, replace

DOCKER_HUB = "docker.io"
DEFAULT_TAG = "latest"

_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-zA-Z=_-]+")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_HOST = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
)
_HEX64 = re.compile(r"[0-9a-f]{64}")
_MAX_NAME = 255


class Digest(str):
    """``algorithm:hex`` of the OCI image specification; only sha256 is computed here.

    Raises :class:`~jupyter_containers.errors.InvalidDigest` when the text is none.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Check and keep the text."""
        if not _SHA256.fullmatch(text):
            what = "uses an algorithm that is not supported" if _DIGEST.fullmatch(text) else "is not a digest"
            raise InvalidDigest(f"{text!r} {what}", hint="a digest is written sha256: and 64 hexadecimal digits")
        return super().__new__(cls, text)

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """The sha256 digest of some bytes."""
        return cls(f"sha256:{hashlib.sha256(data).hexdigest()}")

    @property
    def hex(self) -> str:
        """The 64 hexadecimal digits."""
        return self[7:]

    @property
    def short(self) -> str:
        """The first 12 hexadecimal digits, as listings show them."""
        return self[7:19]


def chain_id(diff_ids: list[Digest]) -> Digest:
    """The ChainID of a stack of layers, bottom first (image specification, config.md "Layer ChainID")."""
    if not diff_ids:
        raise InvalidInput("a chain id needs at least one layer")
    chain = diff_ids[0]
    for diff_id in diff_ids[1:]:
        chain = Digest.of(f"{chain} {diff_id}".encode())
    return chain


@dataclass(frozen=True, slots=True)
class Reference:
    """A name for an image: registry, repository, and a tag or a digest or both.

    ``Reference.parse("alpine")`` is ``docker.io/library/alpine:latest``, as with Docker.
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read what a user wrote.

        A missing registry is Docker Hub's, a missing tag ``latest`` unless a digest stands there.

        Raises
        ------
        InvalidReference
            with what is wrong with it.
        """
        if not text or text != text.strip():
            raise InvalidReference(f"invalid image name {text!r}: it is empty or has spaces around it")
        if _HEX64.fullmatch(text):
            raise InvalidReference(f"invalid image name {text!r}: 64 hexadecimal digits are an id, not a name")
        name, at, digest_text = text.partition("@")
        digest = Digest(digest_text) if at else None
        head, slash, tail = name.rpartition("/")
        last, colon, tag = tail.partition(":")
        if colon and not _TAG.fullmatch(tag):
            raise InvalidReference(
                f"invalid image name {text!r}: {tag!r} is not a tag",
                hint="a tag has letters, digits, '_', '.' and '-', at most 128 of them",
            )
        path = f"{head}{slash}{last}"
        registry, repository = _split_registry(path)
        if repository != repository.lower():
            raise InvalidReference(
                f"invalid image name {text!r}: a repository is written in lower case",
                hint=f"try {text.lower()!r}" if not colon else None,
            )
        if not _HOST.fullmatch(registry) or not _PATH.fullmatch(repository) or len(path) > _MAX_NAME:
            raise InvalidReference(
                f"invalid image name {text!r}", hint="it is written [HOST[:PORT]/]NAME[:TAG], without https://"
            )
        if registry == DOCKER_HUB and "/" not in repository:
            repository = f"library/{repository}"
        return cls(registry, repository, tag if colon else (None if digest else DEFAULT_TAG), digest)

    def with_digest(self, digest: Digest) -> Reference:
        """The same repository at a digest, without the tag."""
        return replace(self, tag=None, digest=digest)

    @property
    def name(self) -> str:
        """Registry and repository, in full: ``docker.io/library/alpine``."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar_name(self) -> str:
        """The repository as listings show it: ``alpine``, ``user/tool``, ``registry.example/tool``."""
        if self.registry != DOCKER_HUB:
            return self.name
        return self.repository.removeprefix("library/")

    @property
    def familiar(self) -> str:
        """The shortest text that :meth:`parse` reads as this reference, with its tag: ``alpine:latest``."""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.familiar_name}{tag}{digest}"

    def __str__(self) -> str:
        """In full: ``docker.io/library/alpine:latest``."""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


def _split_registry(path: str) -> tuple[str, str]:
    first, slash, rest = path.partition("/")
    if slash and (first == "localhost" or any(mark in first for mark in ".:[") or first != first.lower()):
        registry = DOCKER_HUB if first in {"index.docker.io", "registry-1.docker.io"} else first
        return registry, rest
    return DOCKER_HUB, path


_ARCH_ALIASES = {
    "x86_64": ("amd64", None),
    "x86-64": ("amd64", None),
    "aarch64": ("arm64", None),
    "i386": ("386", None),
    "i686": ("386", None),
    "armhf": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
}


@dataclass(frozen=True, slots=True)
class Platform:
    """``os/architecture[/variant]`` with Go's names for both."""

    os: str
    architecture: str
    variant: str | None = None

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read ``linux/arm64/v8``, ``linux/amd64`` or a bare architecture."""
        parts = text.lower().split("/")
        if not 1 <= len(parts) <= 3 or not all(re.fullmatch(r"[a-z0-9_.-]+", part) for part in parts):  # noqa: PLR2004 - os, architecture, variant
            raise InvalidInput(f"{text!r} is not a platform", hint="write it as linux/amd64 or linux/arm64/v8")
        if len(parts) == 1:
            parts = ["linux", parts[0]]
        arch, variant = _ARCH_ALIASES.get(parts[1], (parts[1], None))
        named = parts[2] if len(parts) == 3 else variant  # noqa: PLR2004 - the variant is the third part
        if (arch, named) == ("arm64", "v8"):
            named = None
        if arch == "arm" and named is None:
            named = "v7"
        return cls(parts[0], arch, named)

    @classmethod
    def of_machine(cls, machine: str) -> Platform:
        """The Linux platform of ``os.uname().machine``."""
        arch, variant = _ARCH_ALIASES.get(machine, (machine, None))
        return cls("linux", arch, variant)

    def matches(self, other: Platform) -> bool:
        """Whether an image for ``other`` is the one meant by this platform."""
        return (self.os, self.architecture) == (other.os, other.architecture) and (
            self.variant == other.variant or {self.variant, other.variant} <= {None, "v8"}
        )

    def __str__(self) -> str:
        """``linux/amd64``."""
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)
