"""The facade: ``Engine().images`` and ``Engine().containers``, and the values they take and return."""

from jupyter_containers.engine.containers import Container, Containers
from jupyter_containers.engine.engine import Engine
from jupyter_containers.engine.images import Image, Images
from jupyter_containers.engine.logs import LogEntry
from jupyter_containers.engine.options import RunOptions
from jupyter_containers.engine.views import (
    ContainerSummary,
    EngineInfo,
    HistoryEntry,
    ImageSummary,
    LayerSummary,
    ResourceUsage,
    RunResult,
)

__all__ = [
    "Container",
    "ContainerSummary",
    "Containers",
    "Engine",
    "EngineInfo",
    "HistoryEntry",
    "Image",
    "ImageSummary",
    "Images",
    "LayerSummary",
    "LogEntry",
    "ResourceUsage",
    "RunOptions",
    "RunResult",
]
