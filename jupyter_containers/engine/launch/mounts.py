"""What ``-v``, ``--mount`` and ``--tmpfs`` say, as values.

Sources: docs.docker.com, "docker run", "Volumes", "Bind mounts", "tmpfs mounts"; the words of errors are Docker's where
scripts may look for them.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from jupyter_containers.engine.units import parse_bytes
from jupyter_containers.errors import InvalidInput, Unsupported

if TYPE_CHECKING:
    from jupyter_containers.engine.options import RunOptions

Kind: TypeAlias = Literal["bind", "volume", "tmpfs", "image"]
Recursion: TypeAlias = Literal["enabled", "disabled", "writable", "readonly"]

VOLUME_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_PROPAGATIONS: Final = frozenset({"private", "rprivate", "slave", "rslave", "shared", "rshared"})
_NO_EFFECT: Final = frozenset({"z", "Z", "cached", "delegated", "consistent"})
_FOREIGN: Final = {
    "U": "files made in a bind mount belong to you with --userns keep-id",
    "O": "mount it read-only, or copy it",
    "idmap": "use --userns keep-id or --userns remap",
}
_TMPFS_DEFAULTS: Final = ("nosuid", "nodev", "noexec")
_TMPFS_FLAGS: Final = (
    frozenset(
        "ro rw exec noexec suid nosuid dev nodev atime noatime diratime nodiratime relatime norelatime strictatime "  # noqa: SIM905 - a list of names reads best as prose
        "nostrictatime sync async dirsync tmpcopyup".split()
    )
    | _PROPAGATIONS
)
_TMPFS_VALUES: Final = frozenset({"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"})
_KINDS: Final[dict[str, Kind]] = {"bind": "bind", "volume": "volume", "tmpfs": "tmpfs", "image": "image"}
_ALIASES: Final = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
_FLAGS: Final = frozenset({"readonly", "volume-nocopy", "bind-create-src"})
_KEYS: Final[dict[str, Kind | None]] = {
    "type": None,
    "source": None,
    "target": None,
    "readonly": None,
    "consistency": None,
    "bind-propagation": "bind",
    "bind-recursive": "bind",
    "bind-create-src": "bind",
    "volume-nocopy": "volume",
    "volume-subpath": "volume",
    "volume-label": "volume",
    "volume-driver": "volume",
    "volume-opt": "volume",
    "tmpfs-size": "tmpfs",
    "tmpfs-mode": "tmpfs",
    "image-subpath": "image",
}
_REPEATABLE: Final = frozenset({"volume-label", "volume-opt"})
_RECURSIONS: Final[dict[str, Recursion]] = {
    "enabled": "enabled",
    "disabled": "disabled",
    "writable": "writable",
    "readonly": "readonly",
}


class MountPoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One mount of a container.

    ``source`` is a path of the host, the name of a volume ("" for an anonymous one) or of an image. ``options`` are a
    tmpfs's; ``driver_options`` and ``labels`` those of a volume that is made for it. What the engine decides comes
    last: ``volume`` is the volume's id, ``chains`` are the image's layers.
    """

    kind: Kind
    target: str
    source: str = ""
    read_only: bool = False
    propagation: str = "rprivate"
    recursive: Recursion = "enabled"
    create_source: bool = False
    copy: bool = True
    subpath: str = ""
    options: tuple[str, ...] = ()
    driver_options: dict[str, str] = {}
    labels: dict[str, str] = {}
    volume: str = ""
    anonymous: bool = False
    chains: tuple[str, ...] = ()


def describe(point: MountPoint, root: str) -> dict[str, Any]:
    """A mount as Docker's ``inspect`` shows it; ``root`` is the directory of all volumes."""
    shown: dict[str, Any] = {"Type": point.kind, "Destination": point.target}
    shown["Source"] = f"{root}/{point.volume}/data" if point.volume else point.source
    if point.volume:
        shown |= {"Name": point.source, "Driver": "local"}
    mode = ",".join(point.options)
    return shown | {"Mode": mode, "RW": not point.read_only, "Propagation": point.propagation}


def read(options: RunOptions) -> list[MountPoint]:
    """The mounts that the options ask for.

    Raises
    ------
    InvalidInput, Unsupported
        naming what is wrong.
    """
    check_driver(options.volume_driver)
    points = [
        *(read_volume(text) for text in options.volume),
        *(read_mount(text) for text in options.mount),
        *(read_tmpfs(text) for text in options.tmpfs),
    ]
    taken: set[str] = set()
    for point in points:
        if point.target in taken:
            raise InvalidInput(f"two mounts on {point.target} of the container", hint="leave one of them out")
        taken.add(point.target)
    return points


def check_driver(name: str | None) -> None:
    """Refuse volume drivers other than ``local``."""
    if name not in {None, "", "local"}:
        raise Unsupported(
            f"the volume driver {name!r} is not supported: there are no plug-ins without a daemon",
            hint="use the driver local, with -o type=none -o o=bind -o device=DIR for a directory that is mounted",
        )


def check_name(name: str) -> None:
    """Refuse what is no name of a volume."""
    if not VOLUME_NAME.fullmatch(name):
        raise InvalidInput(
            f"{name!r} is no name of a volume: letters, digits, '_', '.' and '-', two characters at least",
            hint="for a directory of the host give an absolute path, or one that begins with ./",
        )


def place(path: str, said: str) -> str:
    """An absolute path in a container, in the one way of writing it."""
    if not path.startswith("/"):
        raise InvalidInput(
            f"invalid mount {said!r}: the path in the container must be absolute", hint="as in data:/data"
        )
    target = "/" + os.path.normpath(path).lstrip("/")
    if target in {"/", "/proc"} or target.startswith("/proc/"):
        raise InvalidInput(f"nothing can be mounted on {target} of a container", hint="choose another directory")
    return target


def read_volume(text: str) -> MountPoint:
    """``-v``: ``/place``, ``name:/place[:options]``, ``/path:/place[:options]``."""
    parts = text.split(":")
    if len(parts) > 3 or not all(parts[:2]):  # noqa: PLR2004 - source, target, options
        raise InvalidInput(f"invalid volume {text!r}", hint="write it as NAME:/place, /path:/place[:ro] or /place")
    if len(parts) == 1:
        return MountPoint(kind="volume", target=place(parts[0], text))
    source, target = parts[0], place(parts[1], text)
    names = [name for name in parts[2].split(",") if name] if len(parts) > 2 else []  # noqa: PLR2004 - the same
    is_path = source.startswith(("/", ".", "~"))
    known = {"ro", "rw", *_NO_EFFECT, *(_PROPAGATIONS if is_path else {"nocopy"})}
    for name in names:
        if name in known:
            continue
        raise InvalidInput(
            f"invalid volume {text!r}: unknown option {name!r}",
            hint=_FOREIGN.get(name) or f"there are {', '.join(sorted(known))}",
        )
    if {"ro", "rw"} <= set(names) or sum(name in _PROPAGATIONS for name in names) > 1:
        raise InvalidInput(f"invalid volume {text!r}: its options contradict each other")
    if not is_path:
        check_name(source)
        return MountPoint(
            kind="volume", source=source, target=target, read_only="ro" in names, copy="nocopy" not in names
        )
    return MountPoint(
        kind="bind",
        source=_host_path(source),
        target=target,
        read_only="ro" in names,
        propagation=next((name for name in names if name in _PROPAGATIONS), "rprivate"),
        create_source=True,
    )


def _host_path(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def read_tmpfs(text: str) -> MountPoint:
    """``--tmpfs``: ``/place[:options]``, those of mount(8) added to Docker's nosuid, nodev, noexec."""
    target, _, flags = text.partition(":")
    given = [flag for flag in flags.split(",") if flag]
    for flag in given:
        name, equals, value = flag.partition("=")
        if not (name in _TMPFS_VALUES and value if equals else name in _TMPFS_FLAGS):
            raise InvalidInput(f"invalid tmpfs option {flag!r}", hint="as in --tmpfs /run:size=64m,mode=1777,exec")
    return MountPoint(kind="tmpfs", target=place(target, text), options=(*_TMPFS_DEFAULTS, *given))


# -- the long form ---------------------------------------------------------------------------------------------------


def read_mount(text: str) -> MountPoint:
    """``--mount``: ``type=bind,source=/path,target=/place,readonly``."""
    given, pairs = _fields(text)
    word = given.get("type", "volume")
    kind = _KINDS.get(word)
    if kind is None:
        raise Unsupported(f"--mount: there is no type {word!r} here", hint=f"use type={', type='.join(_KINDS)}")
    for key in (*given, *pairs):
        belongs = _KEYS[key]
        if belongs is not None and belongs != kind:
            raise InvalidInput(
                f"--mount: cannot mix {belongs}-* options with mount type {kind!r}: {key}",
                hint=f"leave {key} out, or use type={belongs}",
            )
    if "target" not in given:
        raise InvalidInput(f"--mount {text!r}: target is required", hint="add target=PATH, absolute, in the container")
    target, source = place(given["target"], text), given.get("source", "")
    read_only = "readonly" in given
    match kind:
        case "bind":
            return _bind(text, target, source, given)
        case "volume":
            check_driver(given.get("volume-driver"))
            if source:
                check_name(source)
            return MountPoint(
                kind="volume",
                target=target,
                source=source,
                read_only=read_only,
                copy="volume-nocopy" not in given,
                subpath=_subpath(given.get("volume-subpath", ""), "volume-subpath"),
                driver_options=dict(pairs.get("volume-opt", ())),
                labels=dict(pairs.get("volume-label", ())),
            )
        case "image":
            if not source:
                raise InvalidInput(f"--mount {text!r}: source is required", hint="add source=IMAGE")
            subpath = _subpath(given.get("image-subpath", ""), "image-subpath")
            return MountPoint(kind="image", target=target, source=source, read_only=True, subpath=subpath)
        case "tmpfs":
            if source:
                raise InvalidInput(f"--mount {text!r}: a tmpfs has no source", hint="leave source out")
            return MountPoint(kind="tmpfs", target=target, options=_tmpfs_options(given), read_only=read_only)


def _fields(text: str) -> tuple[dict[str, str], dict[str, list[tuple[str, str]]]]:
    """The keys of a ``--mount`` and their values; switches that are off are left out. Those with pairs come second."""
    import csv  # noqa: PLC0415 - few containers have such a mount

    try:
        parts = next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise InvalidInput(f"--mount {text!r} cannot be read: {error}") from error
    given: dict[str, str] = {}
    pairs: dict[str, list[tuple[str, str]]] = {}
    for part in parts:
        word, equals, value = part.partition("=")
        key = _ALIASES.get(word.strip().lower(), word.strip().lower())
        if key not in _KEYS:
            raise InvalidInput(f"--mount: unexpected key {word!r} in {text!r}", hint=f"the keys are {', '.join(_KEYS)}")
        if key in _FLAGS:
            if value.lower() not in {"", "true", "1", "false", "0"} or (equals and not value):
                raise InvalidInput(f"--mount: invalid value for {word}: {value!r}", hint="it is true or false")
            if value.lower() not in {"false", "0"}:
                given[key] = "true"
        elif not equals or not value:
            raise InvalidInput(f"--mount: invalid field {part!r}: it must be a key=value pair")
        elif key in _REPEATABLE:
            name, _, content = value.partition("=")
            pairs.setdefault(key, []).append((name, content))
        else:
            given[key] = value
    return given, pairs


def _bind(text: str, target: str, source: str, given: dict[str, str]) -> MountPoint:
    if not source:
        raise InvalidInput(f"--mount {text!r}: source is required", hint="add source=PATH")
    propagation = given.get("bind-propagation", "rprivate")
    if propagation not in _PROPAGATIONS:
        raise InvalidInput(f"invalid bind-propagation {propagation!r}", hint=f"use {', '.join(sorted(_PROPAGATIONS))}")
    recursive = _RECURSIONS.get(given.get("bind-recursive", "enabled"))
    if recursive is None:
        raise InvalidInput(f"invalid bind-recursive {given['bind-recursive']!r}", hint=f"use {', '.join(_RECURSIONS)}")
    if recursive == "readonly" and not ("readonly" in given and propagation == "rprivate"):
        raise InvalidInput("bind-recursive=readonly needs readonly and bind-propagation=rprivate")
    return MountPoint(
        kind="bind",
        target=target,
        source=_host_path(source),
        read_only="readonly" in given,
        propagation=propagation,
        recursive=recursive,
        create_source="bind-create-src" in given,
    )


def _tmpfs_options(given: dict[str, str]) -> tuple[str, ...]:
    options = list(_TMPFS_DEFAULTS)
    if "tmpfs-size" in given:
        options.append(f"size={parse_bytes(given['tmpfs-size'], what='tmpfs-size')}")
    if "tmpfs-mode" in given:
        mode = given["tmpfs-mode"]
        if not re.fullmatch(r"[0-7]{1,5}", mode):
            raise InvalidInput(f"invalid tmpfs-mode {mode!r}", hint="write it in octal, as 1777")
        options.append(f"mode={mode}")
    return tuple(options)


def _subpath(path: str, key: str) -> str:
    """A relative path without ``..``."""
    if path.startswith("/") or ".." in path.split("/"):
        raise InvalidInput(f"invalid {key} {path!r}: it must be a relative path inside", hint="leave out the first /")
    return "" if path in {"", "."} else os.path.normpath(path)
