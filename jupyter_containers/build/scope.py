"""What is known at a point of a stage: its variables, the settings of its image, its history so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from jupyter_containers.build import settings
from jupyter_containers.build.graph import Surroundings
from jupyter_containers.records import dataclass, field

if TYPE_CHECKING:
    from jupyter_containers.oci.image_spec import ContainerConfig, ImageConfig


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the history: ``vertex`` made the layer, None where there is none."""

    created_by: str
    vertex: str | None


@dataclass(slots=True)
class StageState:
    """What is known at a point of a stage.

    ``base`` is the configuration of the image it all began with; ``env`` the variables of the image, ``arguments``
    those of ARG (None: declared without a value); ``later`` the values that an ARG gave to what was a variable already;
    ``top`` the vertex that holds the files.
    """

    base: ImageConfig
    timestamp: int | None
    top: str
    settings: ContainerConfig
    author: str | None = None
    events: list[Event] = field(default_factory=list)
    arguments: dict[str, str | None] = field(default_factory=dict)
    later: dict[str, str] = field(default_factory=dict)
    cmd_given: bool = False

    @property
    def env(self) -> dict[str, str]:
        """The variables of the image."""
        return dict(settings.split_variable(text) for text in self.settings.env or [])

    @property
    def scope(self) -> dict[str, str]:
        """What ``$name`` means: ENV shadows ARG (Dockerfile reference, "Using ARG variables"), until a later ARG."""
        given = {name: value for name, value in self.arguments.items() if value is not None}
        return {**given, **self.env, **self.later}

    def declare(self, name: str, value: str | None) -> None:
        """Take note of an ARG."""
        self.arguments[name] = value
        if value is not None and name in self.env:
            self.later[name] = value

    @property
    def surroundings(self) -> Surroundings:
        """What a command would find here."""
        return Surroundings(
            tuple(self.scope.items()),
            self.settings.working_dir or "/",
            self.settings.user or "",
            tuple(settings.shell_of(self.settings)),
        )

    def change(self, **changes: object) -> None:
        """Replace some of the settings."""
        self.settings = msgspec.structs.replace(self.settings, **changes)
