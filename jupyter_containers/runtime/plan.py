"""What a configuration asks of init: checked, and put in order, before any system call is made. Pure.

Source: OCI runtime specification 1.3, config.md and config-linux.md.
"""

from __future__ import annotations

from jupyter_containers.linux.namespaces import FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jupyter_containers.oci.runtime_spec import Device, Linux, Mount, Spec

_PSEUDO_BINDS = {"bind", "rbind"}

#: Devices every container has (config-linux.md, "Default Devices"): path, major, minor.
DEVICES = (
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
)

#: Symbolic links every container has (config-linux.md, "Default Filesystems" and runtime-linux.md).
LINKS = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
)

#: init makes these two by steps of its own: after the cgroup was joined, and before anything else.
_LATE = {"cgroup"}


class SpecError(Exception):
    """The configuration cannot be carried out as it is."""


class Namespaces:
    """Which namespaces to make at once, which to make late, and which to join.

    Attributes
    ----------
    create
        ``CLONE_NEW*`` for the clone of init.
    late
        ``CLONE_NEW*`` for init itself, once it is in its cgroup.
    join
        ``(type, path)`` in the order in which to join; the pid namespace is joined by the parent.
    """

    __slots__ = ("create", "join", "late")

    def __init__(self, spec: Spec) -> None:
        self.create = self.late = 0
        self.join: list[tuple[str, str]] = []
        seen = set()
        for namespace in _linux(spec).get("namespaces", []):
            kind = namespace.get("type", "")
            if kind not in FLAGS:
                raise SpecError(f"unknown namespace type {kind!r}")
            if kind in seen:
                raise SpecError(f"namespace {kind} is given twice")
            seen.add(kind)
            path = namespace.get("path")
            if path is not None:
                self.join.append((kind, _absolute(path, f"path of namespace {kind}")))
            elif kind in _LATE:
                self.late |= FLAGS[kind]
            else:
                self.create |= FLAGS[kind]
        order = list(FLAGS)
        self.join.sort(key=lambda pair: (pair[0] != "user", order.index(pair[0])))
        if not self.create & FLAGS["mount"]:
            raise SpecError("a container needs a mount namespace of its own")

    def creates(self, kind: str) -> bool:
        """Whether a namespace of this type is made for the container."""
        return bool((self.create | self.late) & FLAGS[kind])

    def has(self, kind: str) -> bool:
        """Whether the container has a namespace of this type other than its starter's, made or joined."""
        return self.creates(kind) or any(joined == kind for joined, _path in self.join)


def _linux(spec: Spec) -> Linux:
    return spec.get("linux", {})


def _absolute(path: str, what: str) -> str:
    if not path.startswith("/"):
        raise SpecError(f"{what} must be absolute: {path!r}")
    return _clean(path, what)


def _clean(text: str, what: str) -> str:
    if "\0" in text:
        raise SpecError(f"{what} holds a NUL byte")
    return text


def validate(spec: Spec) -> Namespaces:
    """Check what init relies on, and sort the namespaces.

    Raises
    ------
    SpecError
        Naming the field that is wrong.
    """
    validate_process(spec)
    for mount in spec.get("mounts", []):
        _absolute(mount.get("destination", ""), "mount destination")
        if is_bind(mount) and not mount.get("source"):
            raise SpecError(f"bind mount on {mount['destination']} has no source")
    linux = _linux(spec)
    for path in linux.get("maskedPaths", []):
        _absolute(path, "masked path")
    for path in linux.get("readonlyPaths", []):
        _absolute(path, "read-only path")
    namespaces = Namespaces(spec)
    if spec.get("hostname") and not namespaces.has("uts"):
        raise SpecError("a host name needs a uts namespace")
    for key in linux.get("sysctl", {}):
        _check_sysctl(key, namespaces)
    return namespaces


def validate_process(spec: Spec) -> None:
    """Check the process alone: also that of an exec.

    Raises
    ------
    SpecError
        Naming the field that is wrong.
    """
    process = spec.get("process")
    if process is None or not process.get("args"):
        raise SpecError("no command is given")
    for argument in process["args"]:
        _clean(argument, "argument")
    for entry in process.get("env", []):
        if "=" not in entry[1:]:
            raise SpecError(f"environment entry {entry!r} is not of the form NAME=value")
        _clean(entry, "environment entry")
    _absolute(process.get("cwd", "/"), "working directory")


_SYSCTL_NAMESPACES = (
    ("net.", "network"),
    ("fs.mqueue.", "ipc"),
    ("kernel.shm", "ipc"),
    ("kernel.msg", "ipc"),
    ("kernel.sem", "ipc"),
    ("kernel.hostname", "uts"),
    ("kernel.domainname", "uts"),
)


def _check_sysctl(key: str, namespaces: Namespaces) -> None:
    """Refuse kernel parameters that would change the host: only those a namespace of the container holds may be set."""
    if ".." in key or key.startswith((".", "/")):
        raise SpecError(f"{key!r} is not the name of a kernel parameter")
    dotted = key.replace("/", ".")
    for prefix, kind in _SYSCTL_NAMESPACES:
        if dotted.startswith(prefix):
            if not namespaces.has(kind):
                raise SpecError(f"sysctl {key} needs a {kind} namespace of the container's own")
            return
    raise SpecError(f"sysctl {key} is not kept per namespace and would change the host")


def sysctl_path(key: str) -> str:
    """The path below /proc/sys of a kernel parameter; a slash in the name stands for a dot (sysctl.d(5))."""
    first_dot, first_slash = key.find("."), key.find("/")
    if first_slash >= 0 and (first_dot < 0 or first_slash < first_dot):
        return key
    return key.translate({ord("."): "/", ord("/"): "."})


def is_bind(mount: Mount) -> bool:
    """Whether a mount shows an existing tree at another place."""
    return mount.get("type") in _PSEUDO_BINDS or any(option in _PSEUDO_BINDS for option in mount.get("options", []))


def rlimits(spec: Spec, known: dict[str, int]) -> list[tuple[int, int, int]]:
    """``(resource, soft, hard)``; ``known`` names the resources (``RLIMIT_NOFILE``).

    Raises
    ------
    SpecError
        For a name that is not known, one given twice, or a soft limit above the hard one.
    """
    found: dict[str, tuple[int, int, int]] = {}
    process = spec.get("process", {})
    for limit in process.get("rlimits", []):
        name = limit["type"]
        if name not in known:
            raise SpecError(f"unknown resource limit {name}")
        if name in found:
            raise SpecError(f"resource limit {name} is given twice")
        if limit["soft"] > limit["hard"] >= 0:
            raise SpecError(f"resource limit {name}: the soft limit {limit['soft']} is above the hard {limit['hard']}")
        found[name] = (known[name], limit["soft"], limit["hard"])
    return list(found.values())


def devices(spec: Spec) -> list[Device]:
    """The default devices, then those asked for; one asked for replaces a default one of the same path."""
    wanted: dict[str, Device] = {
        path: {"path": path, "type": "c", "major": major, "minor": minor, "fileMode": 0o666, "uid": 0, "gid": 0}
        for path, major, minor in DEVICES
    }
    for device in _linux(spec).get("devices", []):
        path = _absolute(device.get("path", ""), "device path")
        if device.get("type", "c") not in {"c", "b", "u", "p"}:
            raise SpecError(f"device {path} has the unknown type {device['type']!r}")
        wanted[path] = device
    return list(wanted.values())
