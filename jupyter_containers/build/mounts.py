"""``RUN --mount``: from what is written to what is mounted."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Final

from jupyter_containers.build.dockerfile import instructions
from jupyter_containers.build.dockerfile.instructions import MountType
from jupyter_containers.build.dockerfile.mounts import mount_origin, parse_mount
from jupyter_containers.build.dockerfile.words import ArgumentsError
from jupyter_containers.build.graph import MountKind, RunMount
from jupyter_containers.build.settings import absolute
from jupyter_containers.errors import DockerfileError
from jupyter_containers.records import replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jupyter_containers.build.dockerfile import Instruction

CACHE_NAMESPACE: Final = "BUILDKIT_CACHE_MOUNT_NS"
SECRETS: Final = "/run/secrets"
AGENT: Final = "/run/buildkit/ssh_agent"
DEFAULT_AGENT: Final = "default"
CACHE_MODE: Final = 0o755
SECRET_MODE: Final = 0o400

_KINDS: Final[dict[MountType, MountKind]] = {
    MountType.BIND: "bind",
    MountType.CACHE: "cache",
    MountType.TMPFS: "tmpfs",
    MountType.SECRET: "secret",
    MountType.SSH: "ssh",
}


def origins(instruction: Instruction) -> list[str]:
    """The stages, images and contexts that an instruction takes files from."""
    if isinstance(instruction, instructions.Copy):
        return [instruction.from_] if instruction.from_ else []
    if isinstance(instruction, instructions.Run):
        return [name for name in map(mount_origin, instruction.mounts) if name]
    return []


def with_aliases(instruction: Instruction, aliases: Mapping[str, str]) -> Instruction:
    """The instruction with the stages themselves in place of other names for them."""
    if not aliases:
        return instruction
    if isinstance(instruction, instructions.From) and instruction.image.lower() in aliases:
        return replace(instruction, image=aliases[instruction.image.lower()])
    if isinstance(instruction, instructions.Copy) and (instruction.from_ or "").lower() in aliases:
        return replace(instruction, from_=aliases[(instruction.from_ or "").lower()])
    if isinstance(instruction, instructions.Run):
        return replace(instruction, mounts=tuple(_renamed(text, aliases) for text in instruction.mounts))
    return instruction


def _renamed(text: str, aliases: Mapping[str, str]) -> str:
    origin = mount_origin(text)
    if origin is None or origin.lower() not in aliases:
        return text
    fields = [part for part in next(csv.reader([text])) if part.partition("=")[0].lower() != "from"]
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([*fields, f"from={aliases[origin.lower()]}"])
    return line.getvalue()


def read_mounts(instruction: instructions.Run) -> list[instructions.Mount]:
    """The mounts of a RUN whose variables are resolved.

    Raises
    ------
    DockerfileError
        for one that is none, or two in one place.
    """
    try:
        mounts = [parse_mount(text) for text in instruction.mounts]
    except ArgumentsError as error:
        raise DockerfileError(str(error), source=instruction.source, text=instruction.text) from error
    for number, at in enumerate(at for at, mount in enumerate(mounts) if mount.type is MountType.SSH):
        mounts[at] = replace(mounts[at], target=mounts[at].target or f"{AGENT}.{number}")
    for mount in mounts:
        if mount.target and not absolute("/", mount.target, keep_slash=False).strip("/"):
            raise DockerfileError(
                "nothing can be mounted on / of a step", source=instruction.source, text=instruction.text
            )
    return mounts


def run_mount(mount: instructions.Mount, cwd: str, namespace: str) -> RunMount:
    """A mount with its defaults (Dockerfile reference, "RUN --mount"); relative targets are below ``cwd``.

    ``namespace`` keeps caches of one name apart.
    """
    identity, target, mode = mount.id, mount.target, mount.mode
    if mount.type is MountType.SECRET:
        identity = identity or target.rpartition("/")[2]
        if not target and not mount.env:
            target = f"{SECRETS}/{identity}"
        mode = SECRET_MODE if mode is None else mode
    elif mount.type is MountType.SSH:
        identity = identity or DEFAULT_AGENT
    elif mount.type is MountType.CACHE:
        identity = f"{namespace}/{identity or target}" if namespace else identity or target
        mode = CACHE_MODE if mode is None else mode
    return RunMount(
        _KINDS[mount.type],
        absolute(cwd, target, keep_slash=False) if target else "",
        readonly=mount.readonly,
        id=identity,
        sharing=mount.sharing.value,
        required=mount.required,
        size=mount.size,
        mode=mode,
        uid=mount.uid or 0,
        gid=mount.gid or 0,
        env=mount.env,
    )
