"""How isolated a container is: what ``--cap-add``, ``--cap-drop``, ``--security-opt`` and ``--privileged`` come to.

Sources: docs.docker.com, "docker run", "Security configuration"; podman-run(1) for ``mask`` and ``unmask``; Docker
Engine's default specification for what is masked.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jupyter_containers.errors import InvalidInput, NotFound, Unsupported
from jupyter_containers.linux import capabilities
from jupyter_containers.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jupyter_containers.engine.options import RunOptions

MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_LARGEST_PROFILE = 4 * 2**20
_APPARMOR = "/sys/module/apparmor/parameters/enabled"
_SELINUX = "/sys/fs/selinux/enforce"
_HINT = (
    "use seccomp=unconfined|builtin|FILE, no-new-privileges[=true|false], systempaths=unconfined, mask=PATHS, "
    "unmask=PATHS|ALL, writable-cgroups, apparmor=PROFILE or label=disable"
)


@dataclass(frozen=True, slots=True)
class Sandboxing:
    """How isolated a container is.

    Attributes
    ----------
    seccomp
        Whether calls are filtered; ``profile`` is the JSON text of a filter other than the default one, or empty.
    masked, readonly
        Paths hidden and made read-only.
    apparmor
        The AppArmor profile of the program, or empty.
    """

    capabilities: list[str]
    seccomp: bool
    no_new_privileges: bool
    masked: tuple[str, ...]
    readonly: tuple[str, ...]
    privileged: bool
    profile: str = ""
    apparmor: str = ""
    writable_cgroups: bool = False


def sandboxing(options: RunOptions, *, guards_devices: bool = True) -> Sandboxing:
    """Read the options that say how isolated a container is.

    Where devices cannot be guarded by rules, a container must not be able to make a device node: it loses CAP_MKNOD.

    Raises
    ------
    InvalidInput, Unsupported
        for a capability or a security option that is unknown or not available here.
    """
    read = _SecurityOptions(options.security_opt)
    if options.privileged:
        granted = list(capabilities.known_here())
    else:
        granted = capabilities.parse_add_drop(options.cap_add, options.cap_drop)
        if not guards_devices:
            granted = [name for name in granted if name != "CAP_MKNOD"]
    covered = read.paths_covered and not options.privileged
    return Sandboxing(
        granted,
        seccomp=read.seccomp and (not options.privileged or bool(read.profile)),
        no_new_privileges=read.no_new_privileges,
        masked=read.visible((*(MASKED_PATHS if covered else ()), *read.masks)),
        readonly=read.visible(READONLY_PATHS if covered else ()),
        privileged=options.privileged,
        profile=read.profile,
        apparmor=read.apparmor,
        writable_cgroups=read.writable_cgroups or options.privileged,
    )


class _SecurityOptions:
    """``--security-opt``, read one after the other; a later one of the same name wins."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.seccomp, self.profile = True, ""
        self.no_new_privileges = self.writable_cgroups = False
        self.paths_covered = True
        self.masks: list[str] = []
        self._shown: list[str] = []
        self.apparmor = ""
        for text in texts:
            self._read(text)

    def visible(self, paths: Iterable[str]) -> tuple[str, ...]:
        """The paths without those that ``unmask`` names."""
        return tuple(dict.fromkeys(path for path in paths if path not in self._shown and "ALL" not in self._shown))

    def _read(self, text: str) -> None:
        key, value = split(text)
        match key:
            case "seccomp":
                self.seccomp = value != "unconfined"
                self.profile = "" if value in {"unconfined", "builtin"} else value
            case "no-new-privileges":
                self.no_new_privileges = _boolean(text, value)
            case "writable-cgroups":
                self.writable_cgroups = _boolean(text, value)
            case "systempaths" if value == "unconfined":
                self.paths_covered = False
            case "mask":
                self.masks += _paths(text, value)
            case "unmask":
                self._shown += ["ALL"] if value.upper() == "ALL" else _paths(text, value)
            case "apparmor":
                self._profile_of_apparmor(value)
            case "label":
                _refuse_label(value)
            case _:
                raise Unsupported(f"security option {text!r} is not supported", hint=_HINT)

    def _profile_of_apparmor(self, name: str) -> None:
        if name == "unconfined":
            self.apparmor = ""
        elif not name:
            raise InvalidInput("invalid security option 'apparmor': it names no profile")
        elif not _is_on(_APPARMOR, "Y"):
            raise Unsupported(
                f"the AppArmor profile {name!r} cannot be set: AppArmor is not enabled on this host",
                hint="leave the option out, or use apparmor=unconfined",
            )
        else:
            self.apparmor = name


def split(text: str) -> tuple[str, str]:
    """Key and value of a security option: ``key=value``, or with the colon of early Docker ``key:value``."""
    separator = "=" if "=" in text else ":"
    key, _, value = text.partition(separator)
    return key, value


def _boolean(text: str, value: str) -> bool:
    if value.lower() not in {"", "true", "1", "false", "0"}:
        raise InvalidInput(f"invalid security option {text!r}: it is neither true nor false")
    return value.lower() in {"", "true", "1"}


def _paths(text: str, value: str) -> list[str]:
    """Colon-separated absolute paths."""
    found = [os.path.normpath(path) for path in value.split(":") if path]
    if not found or not all(path.startswith("/") for path in found):
        raise InvalidInput(f"invalid security option {text!r}", hint="write it as mask=/absolute/path:/another")
    return found


def _refuse_label(value: str) -> None:
    """SELinux labels: there are none to set; turning them off is what happens anyway."""
    if value == "disable":
        return
    kind = value.partition(":")[0]
    if kind not in {"user", "role", "type", "level", "filetype", "nested"}:
        raise InvalidInput(f"invalid security option 'label={value}'", hint="use label=disable")
    why = "SELinux labels are not set by this engine" if os.path.exists(_SELINUX) else "this host has no SELinux"
    raise Unsupported(f"the label {value!r} cannot be set: {why}", hint="leave the option out, or use label=disable")


def _is_on(path: str, word: str) -> bool:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip() == word
    except OSError:
        return False


def with_profiles_read(texts: Sequence[str]) -> tuple[str, ...]:
    """The security options with the content of a profile's file in the place of its name, as Docker keeps them.

    Raises
    ------
    NotFound, InvalidInput
        for a file that is not there or is too large.
    """
    return tuple(_with_profile_read(text) for text in texts)


def _with_profile_read(text: str) -> str:
    key, value = split(text)
    if key != "seccomp" or value in {"unconfined", "builtin"} or value.lstrip().startswith("{"):
        return text
    if not value:
        raise InvalidInput(f"invalid security option {text!r}: it names no profile", hint=_HINT)
    path = os.path.expanduser(value)
    try:
        with open(path, encoding="utf-8") as file:
            content = file.read(_LARGEST_PROFILE + 1)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the seccomp profile {path} is no text") from error
    except OSError as error:
        reason = (error.strerror or "it cannot be read").lower()
        raise NotFound(f"opening seccomp profile ({path}) failed: {reason}") from error
    if len(content) > _LARGEST_PROFILE:
        raise InvalidInput(f"the seccomp profile {path} is larger than {_LARGEST_PROFILE >> 20} MiB")
    return f"seccomp={content}"
