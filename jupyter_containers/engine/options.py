"""The options of ``run``, named as Docker's long flags with underscores."""

from __future__ import annotations

import os
import re
import signal as signals
from collections.abc import Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec

from jupyter_containers.engine import supervision
from jupyter_containers.engine.network import endpoints
from jupyter_containers.errors import InvalidInput, Unsupported, UsageError
from jupyter_containers.network import ports

if TYPE_CHECKING:
    from typing import Self

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_LONGEST_HOSTNAME = 64  # sethostname(2)
_LISTS = frozenset(
    "env volume mount volumes_from label cap_add cap_drop security_opt tmpfs ulimit add_host dns device "  # noqa: SIM905 - a list of names reads best as prose
    "device_cgroup_rule sysctl group_add annotation blkio_weight_device device_read_bps device_write_bps "
    "device_read_iops device_write_iops storage_opt log_opt network network_alias link dns_search dns_option expose "
    "publish".split()
)
PULL_POLICIES = ("always", "missing", "never")
LIMIT_POLICIES = ("enforce", "drop")
_OOM_SCORES = range(-1000, 1001)


class RunOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a container is run. Sizes are bytes or texts such as ``64m``; ``stop_timeout`` is seconds.

    ``env`` holds ``NAME=value``; a bare ``NAME`` takes the caller's value. ``entrypoint`` "" resets the image's.
    ``limits`` says what becomes of a limit that this host cannot set: ``enforce`` refuses it, ``drop`` leaves it out
    with a warning.
    """

    name: str | None = None
    detach: bool = False
    remove: bool = False
    env: tuple[str, ...] = ()
    volume: tuple[str, ...] = ()
    mount: tuple[str, ...] = ()
    volumes_from: tuple[str, ...] = ()
    volume_driver: str | None = None
    workdir: str | None = None
    user: str | None = None
    entrypoint: str | tuple[str, ...] | None = None
    hostname: str | None = None
    network: str | tuple[str, ...] | None = None
    memory: str | int | None = None
    memory_swap: str | int | None = None
    cpus: float | None = None
    cpu_shares: int | None = None
    pids_limit: int | None = None
    read_only: bool = False
    interactive: bool = False
    tty: bool = False
    label: tuple[str, ...] = ()
    init: bool = False
    runtime: str | None = None
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    privileged: bool = False
    stop_signal: str | None = None
    stop_timeout: int | None = None
    pull: str = "missing"
    platform: str | None = None
    cidfile: str | None = None
    tmpfs: tuple[str, ...] = ()
    ulimit: tuple[str, ...] = ()
    shm_size: str | int | None = None
    add_host: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_option: tuple[str, ...] = ()
    network_alias: tuple[str, ...] = ()
    ip: str | None = None
    ip6: str | None = None
    mac_address: str | None = None
    link: tuple[str, ...] = ()
    expose: tuple[str, ...] = ()
    publish: tuple[str, ...] = ()
    publish_all: bool = False
    restart: str | None = None
    log_driver: str | None = None
    log_opt: tuple[str, ...] = ()
    health_cmd: str | None = None
    health_interval: str | None = None
    health_timeout: str | None = None
    health_start_period: str | None = None
    health_start_interval: str | None = None
    health_retries: int | None = None
    health_on_failure: str | None = None
    no_healthcheck: bool = False
    annotation: tuple[str, ...] = ()
    blkio_weight: int | None = None
    blkio_weight_device: tuple[str, ...] = ()
    cgroup_parent: str | None = None
    cgroupns: str | None = None
    cpu_period: int | None = None
    cpu_quota: int | None = None
    cpu_rt_period: int | None = None
    cpu_rt_runtime: int | None = None
    cpuset_cpus: str | None = None
    cpuset_mems: str | None = None
    device: tuple[str, ...] = ()
    device_cgroup_rule: tuple[str, ...] = ()
    device_read_bps: tuple[str, ...] = ()
    device_read_iops: tuple[str, ...] = ()
    device_write_bps: tuple[str, ...] = ()
    device_write_iops: tuple[str, ...] = ()
    domainname: str | None = None
    gpus: str | None = None
    group_add: tuple[str, ...] = ()
    ipc: str | None = None
    kernel_memory: str | int | None = None
    limits: str = "enforce"
    memory_reservation: str | int | None = None
    memory_swappiness: int | None = None
    oom_kill_disable: bool = False
    oom_score_adj: int | None = None
    pid: str | None = None
    storage_opt: tuple[str, ...] = ()
    sysctl: tuple[str, ...] = ()
    userns: str | None = None
    uts: str | None = None

    @classmethod
    def of(cls, keywords: Mapping[str, Any]) -> Self:
        """Make options of keyword arguments: one text where a list is meant, mappings for ``env`` and ``label``.

        Raises
        ------
        UsageError
            for a keyword that ``run`` does not have.
        """
        unknown = set(keywords) - set(cls.__struct_fields__)
        if unknown:
            raise UsageError(
                f"run has no option {min(unknown)!r}",
                hint="options are named as docker's long flags, with underscores: memory, pids_limit, read_only",
            )
        values: dict[str, Any] = {
            key: _as_tuple(key, value) if key in _LISTS else value for key, value in keywords.items()
        }
        entrypoint = values.get("entrypoint")
        if entrypoint is not None and not isinstance(entrypoint, str):
            values["entrypoint"] = tuple(entrypoint)
        return cls(**values)

    def check(self) -> None:
        """Refuse what contradicts itself or is not of the right form.

        Raises
        ------
        InvalidInput, UsageError, Unsupported
            naming the option.
        """
        if self.name is not None and not _NAME.fullmatch(self.name):
            raise InvalidInput(
                f"invalid container name {self.name!r}",
                hint="use letters, digits, '_', '.' and '-', beginning with a letter or digit, two characters at least",
            )
        if self.pull not in PULL_POLICIES:
            raise InvalidInput(f"invalid pull policy {self.pull!r}", hint=f"use one of {', '.join(PULL_POLICIES)}")
        if self.cpus is not None and self.cpus <= 0:
            raise InvalidInput(f"invalid number of cpus {self.cpus}: it must be above 0")
        if self.limits not in LIMIT_POLICIES:
            raise InvalidInput(f"invalid limits {self.limits!r}", hint=f"use one of {', '.join(LIMIT_POLICIES)}")
        if self.workdir is not None and not self.workdir.startswith("/"):
            raise InvalidInput(f"the working directory {self.workdir!r} is not an absolute path")
        if self.hostname is not None and not 0 < len(os.fsencode(self.hostname)) <= _LONGEST_HOSTNAME:
            raise InvalidInput(f"invalid host name {self.hostname!r}: it must have 1 to {_LONGEST_HOSTNAME} bytes")
        self._check_what_there_is_not()
        if self.oom_score_adj is not None and self.oom_score_adj not in _OOM_SCORES:
            raise InvalidInput(f"invalid value {self.oom_score_adj}, range for oom score adj is [-1000, 1000]")
        for name, texts in (("sysctl", self.sysctl), ("annotation", self.annotation)):
            for text in texts:
                if not text.partition("=")[0] or "=" not in text:
                    raise InvalidInput(f"invalid {name} {text!r}", hint=f"write it as --{name} NAME=VALUE")
        if self.stop_signal is not None:
            signal_number(self.stop_signal)
        for server in self.dns:
            _check_address(server)
        endpoints.read(self)
        ports.of_options(self.publish, ports.exposed(self.expose))
        supervision.check(self)
        _check_cgroup(self.cgroup_parent or "default")

    def _check_what_there_is_not(self) -> None:
        """Options of Docker's that this engine knows and does not have, each with what to do instead."""
        if self.gpus is not None:
            raise Unsupported(
                "--gpus is not supported: it needs the hooks of a graphics driver",
                hint="give the device nodes (--device /dev/dri) and mount the driver's libraries (-v)",
            )
        if self.storage_opt:
            raise Unsupported(
                f"the storage option {self.storage_opt[0]!r} is not supported: directories have no quotas",
                hint="limit what is written with --read-only and --tmpfs DIR:size=64m",
            )


class RunKeywords(TypedDict, total=False):
    """The keyword arguments of :meth:`Containers.run`: the fields of :class:`RunOptions`, in looser types."""

    name: str | None
    detach: bool
    remove: bool
    env: Mapping[str, str] | Sequence[str]
    volume: str | Sequence[str]
    mount: str | Sequence[str]
    volumes_from: str | Sequence[str]
    volume_driver: str | None
    workdir: str | None
    user: str | None
    entrypoint: str | Sequence[str] | None
    hostname: str | None
    network: str | Sequence[str] | None
    memory: str | int | None
    memory_swap: str | int | None
    cpus: float | None
    cpu_shares: int | None
    pids_limit: int | None
    read_only: bool
    interactive: bool
    tty: bool
    label: Mapping[str, str] | Sequence[str]
    init: bool
    runtime: str | None
    cap_add: str | Sequence[str]
    cap_drop: str | Sequence[str]
    security_opt: str | Sequence[str]
    privileged: bool
    stop_signal: str | None
    stop_timeout: int | None
    pull: str
    platform: str | None
    cidfile: str | None
    tmpfs: str | Sequence[str]
    ulimit: str | Sequence[str]
    shm_size: str | int | None
    add_host: str | Sequence[str]
    dns: str | Sequence[str]
    dns_search: str | Sequence[str]
    dns_option: str | Sequence[str]
    network_alias: str | Sequence[str]
    ip: str | None
    ip6: str | None
    mac_address: str | None
    link: str | Sequence[str]
    expose: str | Sequence[str]
    publish: str | Sequence[str]
    publish_all: bool
    restart: str | None
    log_driver: str | None
    log_opt: Mapping[str, str] | str | Sequence[str]
    health_cmd: str | None
    health_interval: str | None
    health_timeout: str | None
    health_start_period: str | None
    health_start_interval: str | None
    health_retries: int | None
    health_on_failure: str | None
    no_healthcheck: bool
    annotation: Mapping[str, str] | Sequence[str]
    blkio_weight: int | None
    blkio_weight_device: str | Sequence[str]
    cgroup_parent: str | None
    cgroupns: str | None
    cpu_period: int | None
    cpu_quota: int | None
    cpu_rt_period: int | None
    cpu_rt_runtime: int | None
    cpuset_cpus: str | None
    cpuset_mems: str | None
    device: str | Sequence[str]
    device_cgroup_rule: str | Sequence[str]
    device_read_bps: str | Sequence[str]
    device_read_iops: str | Sequence[str]
    device_write_bps: str | Sequence[str]
    device_write_iops: str | Sequence[str]
    domainname: str | None
    gpus: str | None
    group_add: str | Sequence[str]
    ipc: str | None
    kernel_memory: str | int | None
    limits: str
    memory_reservation: str | int | None
    memory_swappiness: int | None
    oom_kill_disable: bool
    oom_score_adj: int | None
    pid: str | None
    storage_opt: Mapping[str, str] | Sequence[str]
    sysctl: Mapping[str, str] | Sequence[str]
    userns: str | None
    uts: str | None


class ExecKeywords(TypedDict, total=False):
    """The keyword arguments of :meth:`Containers.exec`, named as Docker's long flags."""

    env: Mapping[str, str] | Sequence[str]
    workdir: str | None
    user: str | None
    privileged: bool
    tty: bool
    detach: bool


def signal_number(name: str) -> int:
    """The number of ``SIGTERM``, ``TERM``, ``15`` or ``SIGRTMIN+3``.

    Raises
    ------
    InvalidInput
        when there is no such signal.
    """
    text = name.strip().upper().removeprefix("SIG")
    base, plus, offset = text.partition("+")
    with suppress(ValueError, KeyError):
        number = int(text) if text.isdigit() else signals.Signals[f"SIG{base}"] + (int(offset) if plus else 0)
        if 0 < number <= signals.SIGRTMAX:
            return int(number)
    raise InvalidInput(f"there is no signal {name!r}", hint="write it as SIGTERM, TERM or 15")


def _check_address(text: str) -> None:
    try:
        ip_address(text)
    except ValueError as error:
        raise InvalidInput(f"invalid name server {text!r}: it is no IP address") from error


def _check_cgroup(path: str) -> None:
    if not {"", ".", ".."}.isdisjoint(path.strip("/").split("/")):
        raise InvalidInput(f"not a cgroup: {path!r}", hint="write its path below the root, as /notebooks/mine")


def _as_tuple(key: str, value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Mapping):
        return tuple(f"{name}={content}" for name, content in value.items())
    if isinstance(value, Sequence):
        return tuple(str(item) for item in value)
    raise UsageError(f"{key} must be a text, a list or a mapping, not {type(value).__name__}")


def resolve_environment(env: Sequence[str], caller: Mapping[str, str] | None = None) -> list[str]:
    """``NAME=value`` for every entry; a bare ``NAME`` takes the caller's value and is left out where it has none."""
    source = os.environ if caller is None else caller
    found = []
    for entry in env:
        name, equals, _value = entry.partition("=")
        if not name or "\0" in entry:
            raise InvalidInput(f"invalid environment variable {entry!r}", hint="write it as NAME=value")
        if equals:
            found.append(entry)
        elif name in source:
            found.append(f"{name}={source[name]}")
    return found


def merge_environment(*parts: Sequence[str]) -> list[str]:
    """Later parts win; the order of first appearance stays."""
    merged: dict[str, str] = {}
    for part in parts:
        for entry in part:
            name, _, value = entry.partition("=")
            merged[name] = value
    return [f"{name}={value}" for name, value in merged.items()]


def split_pairs(entries: Sequence[str]) -> dict[str, str]:
    """Labels: ``key=value``, a bare ``key`` has the empty value."""
    return {key: value for key, _, value in (entry.partition("=") for entry in entries)}
