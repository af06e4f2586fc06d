"""What a configuration asks of init: checked, and put in order, before any system call is made. Pure.

This is what the small processes rely on; whether a document is a configuration at all (types, ranges, names), for those
that come from elsewhere, is :mod:`jupyter_containers.oci.validation`'s. Errors begin with the path of the field.

Source: OCI runtime specification 1.3, config.md and config-linux.md.
"""

from __future__ import annotations

from jupyter_containers.linux.namespaces import FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jupyter_containers.oci.runtime_spec import Device, Linux, Mount, Spec

_PSEUDO_BINDS = {"bind", "rbind"}
_UNLIMITED = 2**64 - 1

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

_DEFAULT_PATHS = frozenset(path for path, _major, _minor in DEVICES)

#: init makes this one by a step of its own, after the cgroup was joined.
_LATE = {"cgroup"}

#: Fields of ``process`` and ``linux`` that are so rare that what does them is imported only where they are given.
RARE_PROCESS = frozenset({"scheduler", "ioPriority", "apparmorProfile", "selinuxLabel", "execCPUAffinity"})
RARE_LINUX = frozenset({"personality", "memoryPolicy", "mountLabel", "intelRdt", "netDevices", "timeOffsets"})

#: Stands for the root file system among the numbers of mounts.
ROOT = -1

#: Options of bind mounts whose source the starter opens: shared with the host, or with an id mapping.
_SHARED, _MAPPED = {"shared", "rshared"}, {"idmap", "ridmap"}

_PROPAGATIONS = {f"{prefix}{name}" for name in ("private", "slave", "shared", "unbindable") for prefix in ("", "r")}


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
    time
        Whether a time namespace is made: the monitor does, as its offsets are set before anybody is in it.
    join
        ``(type, path)`` in the order in which to join; the pid namespace is joined by the parent.
    """

    __slots__ = ("create", "join", "late", "time")

    def __init__(self, spec: Spec) -> None:
        self.create = self.late = 0
        self.time = False
        self.join: list[tuple[str, str]] = []
        seen = set()
        for number, namespace in enumerate(_linux(spec).get("namespaces", [])):
            kind = namespace.get("type", "")
            if kind not in FLAGS:
                raise SpecError(f"linux.namespaces[{number}].type: unknown namespace type {kind!r}")
            if kind in seen:
                raise SpecError(f"linux.namespaces[{number}].type: namespace {kind} is given twice")
            seen.add(kind)
            path = namespace.get("path")
            if path:
                self.join.append((kind, _absolute(path, f"linux.namespaces[{number}].path")))
            elif kind == "time":
                self.time = True
            elif kind in _LATE:
                self.late |= FLAGS[kind]
            else:
                self.create |= FLAGS[kind]
        order = list(FLAGS)
        self.join.sort(key=lambda pair: (pair[0] != "user", order.index(pair[0])))
        if not self.create & FLAGS["mount"]:
            raise SpecError("linux.namespaces: a container needs a mount namespace of its own, made for it")

    def creates(self, kind: str) -> bool:
        """Whether a namespace of this type is made for the container."""
        return self.time if kind == "time" else bool((self.create | self.late) & FLAGS[kind])

    def has(self, kind: str) -> bool:
        """Whether the container has a namespace of this type other than its starter's, made or joined."""
        return self.creates(kind) or any(joined == kind for joined, _path in self.join)


def _linux(spec: Spec) -> Linux:
    return spec.get("linux", {})


def _absolute(path: str, what: str) -> str:
    if not path.startswith("/"):
        raise SpecError(f"{what}: not an absolute path: {path!r}")
    return _clean(path, what)


def _clean(text: str, what: str) -> str:
    if "\0" in text:
        raise SpecError(f"{what}: holds a NUL byte")
    return text


def validate(spec: Spec) -> Namespaces:
    """Check what init relies on, and sort the namespaces.

    Raises
    ------
    SpecError
        Naming the field that is wrong.
    """
    validate_process(spec)
    linux = _linux(spec)
    namespaces = Namespaces(spec)
    _check_mounts(spec, namespaces)
    for number, path in enumerate(linux.get("maskedPaths", [])):
        _absolute(path, f"linux.maskedPaths[{number}]")
    for number, path in enumerate(linux.get("readonlyPaths", [])):
        _absolute(path, f"linux.readonlyPaths[{number}]")
    for field, kind in (("hostname", "uts"), ("domainname", "uts")):
        if spec.get(field) and not namespaces.has(kind):
            raise SpecError(f"{field}: setting it needs a {kind} namespace of the container's own")
    if namespaces.creates("user"):
        _check_mappings(linux)
    rootfs_propagation(linux)
    for key in linux.get("sysctl", {}):
        _check_sysctl(key, namespaces)
    if not RARE_LINUX.isdisjoint(linux):
        from jupyter_containers.runtime.attributes import check_linux  # noqa: PLC0415 - rare fields

        check_linux(linux, namespaces)
    return namespaces


def _check_mounts(spec: Spec, namespaces: Namespaces) -> None:
    for number, mount in enumerate(spec.get("mounts", [])):
        if not mount.get("destination"):
            raise SpecError(f"mounts[{number}].destination: a mount needs one")
        _clean(mount["destination"], f"mounts[{number}].destination")
        options = mount.get("options", [])
        if is_bind(mount) and not mount.get("source") and "remount" not in options:
            raise SpecError(f"mounts[{number}].source: the bind mount on {mount['destination']} has no source")
        mapped = "idmap" in options or "ridmap" in options
        if mapped or mount.get("uidMappings") or mount.get("gidMappings"):
            _check_id_mapped(number, mount, mapped, user=namespaces.has("user"))


def sources(spec: Spec, *, user: bool, root: bool) -> list[int]:
    """Numbers of the mounts whose sources the starter opens, :data:`ROOT` for the root file system.

    ``user``: the container has a user namespace, whose root may not reach what the starter can. ``root``: the starter
    is root, in some user namespace; another one reaches no more than init does, and may open no mount.
    """
    found = [ROOT] if user and root else []
    for number, mount in enumerate(spec.get("mounts", [])):
        options = mount.get("options", [])
        mapped = mount.get("uidMappings") or not _MAPPED.isdisjoint(options)
        wanted = mapped or (root and (user or not _SHARED.isdisjoint(options)))
        if wanted and is_bind(mount) and "remount" not in options:
            found.append(number)
    return found


def _check_id_mapped(number: int, mount: Mount, asked: bool, *, user: bool) -> None:
    given = bool(mount.get("uidMappings")), bool(mount.get("gidMappings"))
    if given[0] != given[1]:
        raise SpecError(f"mounts[{number}]: uidMappings and gidMappings must be given together")
    if asked and not given[0] and not user:
        raise SpecError(f"mounts[{number}].options: an id mapping needs uidMappings, or a user namespace's")
    if not is_bind(mount):
        raise SpecError(f"mounts[{number}]: only a bind mount can have an id mapping")


def _check_mappings(linux: Linux) -> None:
    for field in ("uidMappings", "gidMappings"):
        if not linux.get(field):
            raise SpecError(f"linux.{field}: a user namespace needs a mapping")


def rootfs_propagation(linux: Linux) -> str:
    """The mount option for ``rootfsPropagation``; empty where it is not given."""
    name = linux.get("rootfsPropagation", "")
    if name and name not in _PROPAGATIONS:
        raise SpecError(f"linux.rootfsPropagation: {name!r} is not one of shared, slave, private, unbindable")
    return name


def validate_process(spec: Spec) -> None:
    """Check the process alone: also that of an exec.

    Raises
    ------
    SpecError
        Naming the field that is wrong.
    """
    process = spec.get("process")
    if process is None or not process.get("args"):
        raise SpecError("process.args: no command is given")
    for number, argument in enumerate(process["args"]):
        _clean(argument, f"process.args[{number}]")
    for number, entry in enumerate(process.get("env", [])):
        if "=" not in entry[1:]:
            raise SpecError(f"process.env[{number}]: {entry!r} is not of the form NAME=value")
        _clean(entry, f"process.env[{number}]")
    _absolute(process.get("cwd", "/"), "process.cwd")
    if not RARE_PROCESS.isdisjoint(process):
        from jupyter_containers.runtime.attributes import check_process  # noqa: PLC0415 - rare fields

        check_process(process)


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
        raise SpecError(f"linux.sysctl: {key!r} is not the name of a kernel parameter")
    dotted = key.replace("/", ".")
    for prefix, kind in _SYSCTL_NAMESPACES:
        if dotted.startswith(prefix):
            if not namespaces.has(kind):
                raise SpecError(f"linux.sysctl: {key} needs a {kind} namespace of the container's own")
            return
    raise SpecError(f"linux.sysctl: {key} is not kept per namespace and would change the host")


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
    for number, limit in enumerate(process.get("rlimits", [])):
        name, soft, hard = limit["type"], limit["soft"], limit["hard"]
        if name not in known:
            raise SpecError(f"process.rlimits[{number}].type: unknown resource limit {name}")
        if name in found:
            raise SpecError(f"process.rlimits[{number}].type: resource limit {name} is given twice")
        if soft & _UNLIMITED > hard & _UNLIMITED:
            raise SpecError(f"process.rlimits[{number}]: {name}: the soft limit {soft} is above the hard {hard}")
        found[name] = (known[name], _signed(soft), _signed(hard))
    return list(found.values())


def _signed(limit: int) -> int:
    """As Python's resource module wants it, whose numbers have a sign: RLIM_INFINITY, all ones, is -1 there."""
    return limit - _UNLIMITED - 1 if limit > _UNLIMITED >> 1 else limit


def is_default_device(path: str) -> bool:
    """Whether every container has a device of this path."""
    return path in _DEFAULT_PATHS


def devices(spec: Spec) -> list[Device]:
    """The default devices, then those asked for; one asked for replaces a default one of the same path."""
    wanted: dict[str, Device] = {
        path: {"path": path, "type": "c", "major": major, "minor": minor, "fileMode": 0o666, "uid": 0, "gid": 0}
        for path, major, minor in DEVICES
    }
    for number, device in enumerate(_linux(spec).get("devices", [])):
        path = _absolute(device.get("path", ""), f"linux.devices[{number}].path")
        kind = device.get("type", "c")
        if kind not in {"c", "b", "u", "p"}:
            raise SpecError(f"linux.devices[{number}].type: device {path} has the unknown type {kind!r}")
        if kind != "p" and not {"major", "minor"} <= device.keys():
            raise SpecError(f"linux.devices[{number}]: device {path} needs a major and a minor number")
        wanted[path] = device
    return list(wanted.values())
