"""Cache keys.

A key is the digest of *material*: all a step depends on, written out. The material is kept with the result, so that a
step that is not found can be compared with the one that stood there before (:mod:`.verdicts`).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from jupyter_containers import documents

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jupyter_containers.build.graph import CopyFiles, MakeDirectory, Run
    from jupyter_containers.oci.names import Digest

VERSION = 2
"""Part of every key: raised when the same material would give another layer."""


class Material(msgspec.Struct, frozen=True):
    """All that decides what a step makes.

    ``facts`` are single settings (``parent``: the chain id it works on; ``command``, ``user``, ``workdir`` ...),
    ``files`` maps each file it reads to the digest of its content, mode and owner.
    """

    kind: str
    facts: dict[str, str]
    arguments: dict[str, str]
    variables: dict[str, str]
    files: dict[str, str]
    version: int = VERSION

    def key(self) -> str:
        """The cache key: 64 hexadecimal digits."""
        return hashlib.sha256(self.encode()).hexdigest()

    def encode(self) -> bytes:
        """The canonical JSON the key is the digest of."""
        return msgspec.json.encode(self, order="deterministic")

    @classmethod
    def decode(cls, data: bytes) -> Material:
        """Read what :meth:`encode` wrote; ``msgspec.DecodeError`` when it is something else."""
        return documents.decode(data, cls)


# -- material of the operations --------------------------------------------------------------------------------------


def run_material(
    operation: Run,
    *,
    parent: Digest | None,
    platform: str,
    mounted: Mapping[str, Digest | None] | None = None,
    files: Mapping[str, str] | None = None,
) -> Material:
    """What a RUN depends on: the file system below, the command, its environment, what is mounted.

    Proxies are left out, and of secrets, agents and caches all but that they are asked for.

    Parameters
    ----------
    mounted
        The chain id of the files of each bind mount, by target.
    files
        What they are made of, for the verdict; other files give another chain id anyway.
    """
    arguments = {name: value for name, value in operation.env if name in operation.arguments}
    return Material(
        "run",
        facts={
            "parent": str(parent or ""),
            "command": msgspec.json.encode(operation.argv).decode(),
            "working directory": operation.cwd,
            "user": operation.user,
            "network": operation.network,
            "hosts": msgspec.json.encode(operation.extra_hosts).decode(),
            "platform": platform,
            "timestamp": str(operation.timestamp),
            "mounts": msgspec.json.encode(operation.mounts).decode() if operation.mounts else "",
            **{f"mount {target}": str(chain or "") for target, chain in (mounted or {}).items()},
            **({"security": "insecure"} if operation.privileged else {}),
        },
        arguments=arguments,
        variables={name: value for name, value in operation.env if name not in arguments},
        files={
            **{script.path: f"sha256:{hashlib.sha256(script.data).hexdigest()}" for script in operation.scripts},
            **(files or {}),
        },
    )


def copy_material(
    operation: CopyFiles, *, parent: Digest | None, files: Mapping[str, str], owner: tuple[int, int] | None = None
) -> Material:
    """What a COPY or ADD depends on: the file system below, the chosen files by content, where and how they go.

    One that stands alone (``--link``) has no parent; ``owner`` are then the ids that ``--chown`` has there.
    """
    return Material(
        "copy",
        facts={
            "parent": "" if operation.link else str(parent or ""),
            "destination": operation.destination,
            "owner": operation.chown if owner is None else f"{owner[0]}:{owner[1]}",
            "mode": operation.chmod,
            "extraction": operation.unpack,
            "flags": " ".join(
                [
                    *(["--link"] if operation.link else []),
                    *(["--parents"] if operation.parents else []),
                    *(f"--exclude={pattern}" for pattern in operation.exclude),
                ]
            ),
            "timestamp": str(operation.timestamp),
        },
        arguments={},
        variables={},
        files=dict(files),
    )


def directory_material(operation: MakeDirectory, *, parent: Digest | None) -> Material:
    """What a WORKDIR depends on."""
    return Material(
        "directory",
        facts={
            "parent": str(parent or ""),
            "directory": operation.path,
            "user": operation.user,
            "timestamp": str(operation.timestamp),
        },
        arguments={},
        variables={},
        files={},
    )
