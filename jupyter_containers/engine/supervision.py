"""What the monitor is told beside the specification: restart policy, log, health check, events."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_containers.engine.units import parse_bytes
from jupyter_containers.errors import InvalidInput, Unsupported, UsageError
from jupyter_containers.monitor import journal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter_containers.engine.network.endpoints import Endpoint
    from jupyter_containers.engine.options import RunOptions
    from jupyter_containers.engine.parts import Parts
    from jupyter_containers.engine.record import ContainerRecord
    from jupyter_containers.runtime.protocol import EventOptions, LaunchRequest, LogOptions, RestartPolicy

POLICIES = ("no", "on-failure", "always", "unless-stopped")
LOG_DRIVERS = ("json-file", "local", "none")
_OTHER_DRIVERS = ("journald", "syslog", "fluentd", "gelf", "awslogs", "gcplogs", "splunk", "etwlogs")
_LOCAL_SIZE, _LOCAL_FILES = "20m", "5"
_LOG_OPTIONS = ("max-size", "max-file", "labels", "env", "tag", "mode", "max-buffer-size")


def restart_policy(text: str | None) -> RestartPolicy:
    """Read ``no``, ``always``, ``unless-stopped``, ``on-failure`` or ``on-failure:N``.

    Raises
    ------
    InvalidInput
        for anything else.
    """
    name, colon, number = (text or "no").partition(":")
    if name not in POLICIES:
        raise InvalidInput(f"invalid restart policy {text!r}", hint=f"use one of {', '.join(POLICIES)}, on-failure:N")
    if colon and name != "on-failure":
        raise InvalidInput(f"invalid restart policy {text!r}: only on-failure has a maximum of restarts")
    if colon and not number.isdecimal():
        raise InvalidInput(f"invalid restart policy {text!r}: the maximum must be a whole number")
    return {"name": name, "most": int(number or 0)}


def policy_text(text: str | None) -> str:
    """A policy for a person: without what does not count."""
    policy = restart_policy(text)
    return f"{policy['name']}:{policy['most']}" if policy["most"] else policy["name"]


def check(options: RunOptions) -> None:
    """Refuse what contradicts itself or is not of the right form.

    Raises
    ------
    InvalidInput, UsageError, Unsupported
        naming the option.
    """
    if restart_policy(options.restart)["name"] != "no" and options.remove:
        raise UsageError("--rm and --restart contradict each other", hint="leave one of them out")
    log_options(options, Path(), {}, ())


def log_options(options: RunOptions, path: Path, labels: dict[str, str], env: Sequence[str]) -> LogOptions | None:
    """Where and how output is kept; None for ``--log-driver none``."""
    driver = options.log_driver or "json-file"
    if driver in _OTHER_DRIVERS:
        raise Unsupported(f"the log driver {driver} needs a service that this engine does not talk to", hint=_HINT)
    if driver not in LOG_DRIVERS:
        raise InvalidInput(f"unknown log driver {driver!r}", hint=_HINT)
    given = _pairs(options.log_opt)
    unknown = set(given) - set(_LOG_OPTIONS if driver != "none" else ())
    if unknown:
        raise InvalidInput(
            f"unknown log option {min(unknown)!r} for the log driver {driver}",
            hint=f"options are {', '.join(_LOG_OPTIONS)}",
        )
    if driver == "none":
        return None
    local = driver == "local"
    size = parse_bytes(given.get("max-size", _LOCAL_SIZE if local else "-1"), what="max-size")
    files = given.get("max-file", _LOCAL_FILES if local else "1")
    if not files.isdecimal() or int(files) < 1:
        raise InvalidInput(f"invalid max-file {files!r}: it must be at least 1")
    if "max-file" in given and "max-size" not in given and not local:
        raise InvalidInput("max-file has no meaning without max-size", hint="add --log-opt max-size=10m")
    attributes = _attributes(given, labels, env)
    found: LogOptions = {"path": str(path), "max_size": max(size, 0), "max_file": int(files)}
    if attributes:
        found["attrs"] = attributes
    return found


_HINT = f"use one of {', '.join(LOG_DRIVERS)}; 'logs' reads the first two"


def _pairs(entries: Sequence[str]) -> dict[str, str]:
    found = {}
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not equals:
            raise InvalidInput(f"invalid log option {entry!r}", hint="write it as max-size=10m")
        found[key] = value
    return found


def _attributes(given: dict[str, str], labels: dict[str, str], env: Sequence[str]) -> dict[str, str]:
    """What ``labels``, ``env`` and ``tag`` add to each entry of the log."""
    found = {name: labels[name] for name in given.get("labels", "").split(",") if name in labels}
    variables = dict(entry.partition("=")[::2] for entry in env)
    found |= {name: variables[name] for name in given.get("env", "").split(",") if name in variables}
    if given.get("tag"):
        found["tag"] = given["tag"]
    return found


def describe(record: ContainerRecord) -> dict[str, str]:
    """The attributes of a container's events, as Docker gives them."""
    return {**record.labels, "image": record.image, "name": record.name}


def tell(parts: Parts, record: ContainerRecord, action: str, **attributes: str) -> None:
    """Enter in the store's journal what this process did with a container."""
    journal.append(
        str(parts.paths.root / journal.NAME), "container", action, record.id, {**describe(record), **attributes}
    )


def tell_of(parts: Parts, kind: str, action: str, identity: str, **attributes: str) -> None:
    """Enter in the store's journal what this process did with something else: an image, a network ..."""
    journal.append(str(parts.paths.root / journal.NAME), kind, action, identity, attributes)


def tell_pruned(parts: Parts, kind: str, freed: int = 0) -> None:
    """Enter that what was not needed of a kind was removed: ``freed`` are bytes."""
    tell_of(parts, kind, "prune", "", reclaimed=str(freed))


def event_options(parts: Parts, record: ContainerRecord) -> EventOptions:
    """Where the monitor tells what happens."""
    found: EventOptions = {"path": str(parts.paths.root / journal.NAME), "attributes": describe(record)}
    if record.endpoints or any(point.volume for point in record.mounts):
        found["beside"] = beside(record)
    return found


def beside(record: ContainerRecord) -> dict[str, list[tuple[str, str, str, dict[str, str]]]]:
    """What happens to networks and volumes when a container starts and when it ends."""
    networks = [(each.network, network_attributes(record, each)) for each in record.endpoints]
    volumes = [
        (
            point.source,
            {
                "container": record.id,
                "destination": point.target,
                "driver": "local",
                "propagation": "",
                "read/write": str(not point.read_only).lower(),
            },
        )
        for point in record.mounts
        if point.volume
    ]
    used = {"container": record.id, "driver": "local"}
    return {
        "start": [
            *(("volume", "mount", name, attributes) for name, attributes in volumes),
            *(("network", "connect", identity, attributes) for identity, attributes in networks),
        ],
        "die": [
            *(("network", "disconnect", identity, attributes) for identity, attributes in networks),
            *(("volume", "unmount", name, used) for name, _ in volumes),
        ],
    }


def network_attributes(record: ContainerRecord, endpoint: Endpoint) -> dict[str, str]:
    """The attributes of an event of a network that is about a container."""
    return {"container": record.id, "name": endpoint.name, "type": "bridge"}


def supervise(parts: Parts, record: ContainerRecord, request: LaunchRequest) -> None:
    """Complete a launch request."""
    options = record.options
    directory = parts.paths.containers / record.id
    request["run_dir"] = str(parts.paths.running / record.id)
    request["state_dir"] = str(directory)
    request["log"] = log_options(options, directory / "log.json", record.labels, record.env)
    request["open_stdin"] = options.interactive
    request["stdin_once"] = not options.detach
    request["throwaway"] = options.remove
    policy = restart_policy(options.restart)
    if policy["name"] != "no":
        request["restart"] = policy
    request["events"] = event_options(parts, record)
    if record.health is not None:
        from jupyter_containers.engine.container import execs  # noqa: PLC0415 - few containers have a check
        from jupyter_containers.engine.launch import health  # noqa: PLC0415 - few containers have a check

        request["health"] = health.request(record, record.health, execs.request(parts, record, ["check"], {}))


def update_message(record: ContainerRecord, **more: Any) -> dict[str, Any]:
    """What a running container's monitor is told after a change of its record."""
    policy = restart_policy(record.options.restart)
    return {"kind": "update", "restart": policy, "attributes": describe(record), **more}
