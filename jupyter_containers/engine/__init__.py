"""The facade: ``Engine().images``, ``.containers`` and ``.volumes``, and the values they take and return.

Nothing is imported before it is asked for: a command line begins what else it needs meanwhile (``early.py``).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jupyter_containers.build.cancel import CancelToken
    from jupyter_containers.engine.container.logs import LogEntry
    from jupyter_containers.engine.container.sessions import Console, Session
    from jupyter_containers.engine.containers import Containers
    from jupyter_containers.engine.engine import Engine
    from jupyter_containers.engine.images import Image, Images
    from jupyter_containers.engine.options import RunOptions
    from jupyter_containers.engine.views import (
        Container,
        ContainerSummary,
        EngineInfo,
        Exec,
        ExecStatus,
        HistoryEntry,
        ImageSummary,
        LayerSummary,
        ProcessTable,
        PruneReport,
        ResourceUsage,
        RunResult,
        VolumeSummary,
    )
    from jupyter_containers.engine.volumes import Volume, Volumes

__all__ = [
    "CancelToken",
    "Console",
    "Container",
    "ContainerSummary",
    "Containers",
    "Engine",
    "EngineInfo",
    "Exec",
    "ExecStatus",
    "HistoryEntry",
    "Image",
    "ImageSummary",
    "Images",
    "LayerSummary",
    "LogEntry",
    "ProcessTable",
    "PruneReport",
    "ResourceUsage",
    "RunOptions",
    "RunResult",
    "Session",
    "Volume",
    "VolumeSummary",
    "Volumes",
]


_MODULES = {
    "Console": "container.sessions",
    "Containers": "containers",
    "Engine": "engine",
    "Image": "images",
    "Images": "images",
    "LogEntry": "container.logs",
    "RunOptions": "options",
    "Session": "container.sessions",
    "Volume": "volumes",
    "Volumes": "volumes",
}
"""Where the names are that are not in ``views``."""


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "CancelToken":
        return import_module("jupyter_containers.build.cancel").CancelToken
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'views')}"), name)
