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

from jupyter_containers.errors import InvalidInput, Unsupported, UsageError

if TYPE_CHECKING:
    from typing import Self

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_LONGEST_HOSTNAME = 64  # sethostname(2)
_LISTS = frozenset(
    {"env", "volume", "label", "cap_add", "cap_drop", "security_opt", "tmpfs", "ulimit", "add_host", "dns"}
)
PULL_POLICIES = ("always", "missing", "never")


class RunOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a container is run. Sizes are bytes or texts such as ``64m``; ``stop_timeout`` is seconds.

    ``env`` holds ``NAME=value``; a bare ``NAME`` takes the caller's value. ``entrypoint`` "" resets the image's.
    """

    name: str | None = None
    detach: bool = False
    remove: bool = False
    env: tuple[str, ...] = ()
    volume: tuple[str, ...] = ()
    workdir: str | None = None
    user: str | None = None
    entrypoint: str | tuple[str, ...] | None = None
    hostname: str | None = None
    network: str | None = None
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
        if self.workdir is not None and not self.workdir.startswith("/"):
            raise InvalidInput(f"the working directory {self.workdir!r} is not an absolute path")
        if self.hostname is not None and not 0 < len(os.fsencode(self.hostname)) <= _LONGEST_HOSTNAME:
            raise InvalidInput(f"invalid host name {self.hostname!r}: it must have 1 to {_LONGEST_HOSTNAME} bytes")
        if self.stop_signal is not None:
            signal_number(self.stop_signal)
        for server in self.dns:
            _check_address(server)
        if self.tty and not self.detach:
            raise Unsupported(
                "a foreground container cannot have a terminal here yet",
                hint="leave -t out, or run it with -d and use exec",
            )


class RunKeywords(TypedDict, total=False):
    """The keyword arguments of :meth:`Containers.run`: the fields of :class:`RunOptions`, in looser types."""

    name: str | None
    detach: bool
    remove: bool
    env: Mapping[str, str] | Sequence[str]
    volume: str | Sequence[str]
    workdir: str | None
    user: str | None
    entrypoint: str | Sequence[str] | None
    hostname: str | None
    network: str | None
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
