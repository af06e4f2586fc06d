"""A bundle: a directory with ``config.json`` and what that speaks of, checked and made ready for init.

Sources: OCI runtime specification 1.3, bundle.md, config.md, config-linux.md.
"""

from __future__ import annotations

import os

from jupyter_containers.errors import InvalidInput
from jupyter_containers.linux import capabilities
from jupyter_containers.oci import validation
from jupyter_containers.oci_runtime import document
from jupyter_containers.oci_runtime.failure import CommandError
from jupyter_containers.runtime import plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

CONFIG = "config.json"
#: Stands in where a configuration has no process: such a container can be created, never started.
_NO_PROCESS = {"cwd": "/", "args": ["-"], "env": []}


class Bundle:
    """A bundle as it was read; ``warn`` is told what the specification says to warn of.

    Attributes
    ----------
    path
        Its absolute path.
    text
        ``config.json`` as it is.
    spec
        The same, with absolute paths.
    namespaces
        Those it asks for.
    startable
        Whether there is a process.
    """

    def __init__(self, path: str, warn: Callable[[str], None]) -> None:
        self.path = os.path.realpath(path or ".")
        name = f"{self.path}/{CONFIG}"
        self.text = document.read_bytes(name)
        try:
            checked = validation.validate(document.parse_object(self.text, name), capabilities.known_here(), warn)
            self.spec: dict[str, Any] = dict(validation.resolve(checked, self.path))
            self.startable = "process" in self.spec
            self.spec.setdefault("process", dict(_NO_PROCESS))
            self.namespaces = plan.validate(self.spec)  # type: ignore[arg-type]  # it was checked
        except (InvalidInput, plan.SpecError) as error:
            raise CommandError(f"{CONFIG}: {error}") from None
        if not os.path.isdir(self.spec["root"]["path"]):
            raise CommandError(f"{CONFIG}: root.path: {self.spec['root']['path']} is no directory")

    @property
    def hooks(self) -> dict[str, list[dict[str, Any]]]:
        """Its hooks by kind."""
        found: dict[str, list[dict[str, Any]]] = self.spec.get("hooks", {})
        return found


def process(value: dict[str, Any], warn: Callable[[str], None]) -> dict[str, Any]:
    """The process of an exec, checked. Raises :exc:`CommandError` where it is wrong."""
    try:
        checked = dict(validation.validate_process(value, capabilities.known_here(), warn))
        plan.validate_process({"process": checked})  # type: ignore[typeddict-item]  # it was checked
    except (InvalidInput, plan.SpecError) as error:
        raise CommandError(str(error)) from None
    return checked


def resources(value: dict[str, Any]) -> dict[str, Any]:
    """The limits of an update, checked. Raises :exc:`CommandError` where they are wrong."""
    try:
        return dict(validation.validate_resources(value))
    except InvalidInput as error:
        raise CommandError(str(error)) from None
