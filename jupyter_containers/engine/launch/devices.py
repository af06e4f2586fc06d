"""Devices of the host for a container: ``--device``, ``--device-cgroup-rule`` and what ``--privileged`` shows.

Sources: docs.docker.com, "docker run --device"; OCI runtime specification, config-linux.md, "Devices" and "Allowed
Device list".
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

from jupyter_containers.errors import InvalidInput, NotFound, Unsupported
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jupyter_containers.engine.options import RunOptions
    from jupyter_containers.oci.runtime_spec import Device, DeviceCgroup, Mount

_RULE = re.compile(r"([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})")
_PERMISSIONS = re.compile(r"[rwm]{1,3}")

# The nodes of /dev that every container has, and terminals (Docker's default device rules).
_DEFAULT_NUMBERS = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2))
_TERMINALS = 136
# Below /dev a container has its own of these; a console is only there with a terminal.
_OWN = frozenset({"pts", "shm", "fd", "mqueue", "console", "ptmx", "lxc", "lxd-fuse", ".lxc", ".lxd-mounts"})


@dataclass(frozen=True, slots=True)
class HostDevice:
    """A device node of the host, where it is shown in the container, and the access that is allowed (of ``rwm``)."""

    source: str
    path: str
    access: str
    kind: str
    major: int
    minor: int
    mode: int
    uid: int
    gid: int

    @property
    def node(self) -> Device:
        """The node to make in the container."""
        return {
            "path": self.path,
            "type": self.kind,
            "major": self.major,
            "minor": self.minor,
            "fileMode": self.mode,
            "uid": self.uid,
            "gid": self.gid,
        }

    @property
    def mount(self) -> Mount:
        """The host's own node bound into the container, for a user namespace, where nodes cannot be made."""
        return {
            "destination": self.path,
            "type": "bind",
            "source": self.source,
            "options": ["bind", "nosuid", "noexec"],
        }

    @property
    def rule(self) -> DeviceCgroup:
        """What the device controller must allow."""
        return {
            "allow": True,
            "type": self.kind,
            "major": self.major,
            "minor": self.minor,
            "access": self.access,
        }


def of(options: RunOptions) -> list[HostDevice]:
    """The devices a container is given, each path once, the later one winning.

    Raises
    ------
    InvalidInput, NotFound, Unsupported
        for a device that is written wrongly, is not there, or is no device.
    """
    found: dict[str, HostDevice] = {}
    if options.privileged:
        found.update((device.path, device) for device in _below("/dev", "/dev", "rwm", top=True))
    for text in options.device:
        found.update((device.path, device) for device in _named(text))
    return list(found.values())


def _named(text: str) -> list[HostDevice]:
    source, path, access = parts(text)
    try:
        info = os.stat(source)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise NotFound(f'error gathering device information while adding custom device "{source}": {reason}') from error
    if stat.S_ISDIR(info.st_mode):
        devices = list(_below(source, path, access))
    else:
        devices = [device for device in [_device(source, path, access, info)] if device]
    if not devices:
        raise InvalidInput(
            f'error gathering device information while adding custom device "{source}": not a device node'
        )
    return devices


def parts(text: str) -> tuple[str, str, str]:
    """``SOURCE[:TARGET][:ACCESS]``, absolute paths; raises InvalidInput and Unsupported."""
    if "=" in text and not text.startswith("/"):
        raise Unsupported(
            f"the device {text!r} is named for the Container Device Interface, which is not supported",
            hint="name the device nodes: --device /dev/NODE",
        )
    first, *others = text.split(":")
    source, path, access = first, first, "rwm"
    match others:
        case []:
            pass
        case [one] if _PERMISSIONS.fullmatch(one):
            access = one
        case [one]:
            path = one
        case [one, permissions]:
            path, access = one, permissions
        case _:
            raise InvalidInput(f"invalid device specification: {text}", hint="write it as /dev/NODE[:/dev/NAME][:rwm]")
    if not _PERMISSIONS.fullmatch(access) or len(set(access)) != len(access):
        raise InvalidInput(f"invalid device mode: {access}", hint="it is made of r (read), w (write) and m (mknod)")
    if not source.startswith("/") or not path.startswith("/"):
        raise InvalidInput(f"invalid device specification: {text}: its paths must be absolute")
    return source, os.path.normpath(path), access


def _below(source: str, path: str, access: str, *, top: bool = False) -> Iterator[HostDevice]:
    """The devices in a directory and those below it; links are left out, as Docker does."""
    try:
        entries = sorted(os.scandir(source), key=lambda entry: entry.name)
    except PermissionError:
        return  # nothing in there could be opened either
    for entry in entries:
        if top and entry.name in _OWN:
            continue
        target = f"{path.rstrip('/')}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            yield from _below(entry.path, target, access)
        elif device := _device(entry.path, target, access, entry.stat(follow_symlinks=False)):
            yield device


def _device(source: str, path: str, access: str, info: os.stat_result) -> HostDevice | None:
    if not stat.S_ISCHR(info.st_mode) and not stat.S_ISBLK(info.st_mode):
        return None
    return HostDevice(
        source=source,
        path=path,
        access=access,
        kind="c" if stat.S_ISCHR(info.st_mode) else "b",
        major=os.major(info.st_rdev),
        minor=os.minor(info.st_rdev),
        mode=stat.S_IMODE(info.st_mode),
        uid=info.st_uid,
        gid=info.st_gid,
    )


def rules(options: RunOptions, devices: list[HostDevice]) -> list[DeviceCgroup]:
    """The device rules of a container: nothing but the default devices, those given to it, and rules of its own.

    Raises
    ------
    InvalidInput
        for a rule that is written wrongly.
    """
    if options.privileged:
        return [{"allow": True, "access": "rwm"}]
    found: list[DeviceCgroup] = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "access": "m"},
        {"allow": True, "type": "b", "access": "m"},
    ]
    found += [
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        for major, minor in _DEFAULT_NUMBERS
    ]
    found.append({"allow": True, "type": "c", "major": _TERMINALS, "access": "rwm"})
    found += [device.rule for device in devices]
    return found + [rule for text in options.device_cgroup_rule for rule in _rule(text)]


def _rule(text: str) -> list[DeviceCgroup]:
    """``c 1:3 rwm``, with ``*`` for any number and ``a`` for both kinds of devices."""
    match = _RULE.fullmatch(text)
    if not match:
        raise InvalidInput(
            f"invalid device cgroup format '{text}'",
            hint="write it as 'c 1:3 rwm' (kind a, b or c; * is any number)",
        )
    kind, major, minor, access = match.groups()
    numbers = {name: int(number) for name, number in (("major", major), ("minor", minor)) if number != "*"}
    made: list[DeviceCgroup] = []
    for each in ("c", "b") if kind == "a" else (kind,):
        rule: DeviceCgroup = {"allow": True, "type": each, "access": access}
        if "major" in numbers:
            rule["major"] = numbers["major"]
        if "minor" in numbers:
            rule["minor"] = numbers["minor"]
        made.append(rule)
    return made
