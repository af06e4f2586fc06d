"""Health checks: what the image and the options of ``run`` say, for the monitor.

Sources: the image specification's Docker extension (``Healthcheck``); docs.docker.com, "docker run", "Healthchecks";
podman-run(1) for what is done when it fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from jupyter_containers.engine.moments import SECOND
from jupyter_containers.engine.options import signal_number
from jupyter_containers.errors import InvalidInput, UsageError
from jupyter_containers.oci.image_spec import Healthcheck

if TYPE_CHECKING:
    from jupyter_containers.engine.options import RunOptions
    from jupyter_containers.engine.record import ContainerRecord
    from jupyter_containers.runtime.protocol import ExecRequest, HealthCheck

ON_FAILURE = ("none", "kill", "restart", "stop")
_NONE = ("NONE",)
_INTERVAL, _TIMEOUT, _START_INTERVAL, _RETRIES = 30, 30, 5, 3
_LEAST = 10**6
_TIMES = ("interval", "timeout", "start_period", "start_interval")


def merge(options: RunOptions, image: Healthcheck | None) -> Healthcheck | None:
    """The check of a container: the image's, with what the options replace of it; None for no check.

    Raises
    ------
    InvalidInput, UsageError
        for a time that is none, or options that contradict each other.
    """
    given = _given(options)
    if options.health_on_failure not in {None, *ON_FAILURE}:
        raise InvalidInput(
            f"invalid --health-on-failure {options.health_on_failure!r}", hint=f"use one of {', '.join(ON_FAILURE)}"
        )
    if options.no_healthcheck:
        if given:
            raise UsageError("--no-healthcheck conflicts with --health-* options", hint="leave one of them out")
        return None
    check = msgspec.structs.replace(image or Healthcheck(), **given)
    return check if check.test and tuple(check.test) != _NONE else None


def _given(options: RunOptions) -> dict[str, object]:
    found: dict[str, object] = {}
    if options.health_cmd:
        found["test"] = ["CMD-SHELL", options.health_cmd]
    if options.health_retries is not None:
        if options.health_retries < 0:
            raise InvalidInput("--health-retries cannot be negative")
        found["retries"] = options.health_retries
    for name in _TIMES:
        text = getattr(options, f"health_{name}")
        if text is not None:
            found[name] = _duration(f"--health-{name.replace('_', '-')}", text)
    return found


def _duration(name: str, text: str) -> int:
    from jupyter_containers.build.dockerfile.durations import parse_duration  # noqa: PLC0415 - only for a duration

    try:
        found = parse_duration(text)
    except ValueError:
        raise InvalidInput(f"{name}: invalid duration {text!r}", hint="write it as 30s or 1m30s") from None
    if found < 0:
        raise InvalidInput(f"{name} cannot be negative")
    if 0 < found < _LEAST:
        raise InvalidInput(f"{name} cannot be less than 1ms")
    return found


def request(record: ContainerRecord, check: Healthcheck, process: ExecRequest) -> HealthCheck:
    """The check for the monitor; ``process`` is the exec it is to do, but for the command."""
    kind, *words = check.test
    process["process"]["args"] = ["/bin/sh", "-c", *words] if kind == "CMD-SHELL" else words
    return {
        "process": process["process"],
        "user": process["user"],
        "seccomp": process["seccomp"],
        "interval": check.interval / SECOND or _INTERVAL,
        "timeout": check.timeout / SECOND or _TIMEOUT,
        "start_period": check.start_period / SECOND,
        "start_interval": check.start_interval / SECOND or _START_INTERVAL,
        "retries": check.retries or _RETRIES,
        "on_failure": record.options.health_on_failure or "none",
        "stop_signal": signal_number(record.stop_signal),
        "stop_timeout": record.stop_timeout,
    }
