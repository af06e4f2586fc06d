"""Containers in a notebook: a daemonless container runtime and image builder, magics, DataFrames.

Nothing is imported here before it is asked for: the small processes that start containers import this package too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyter_containers.version import __version__

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from jupyter_containers.engine import Container, Engine, Image, RunResult
    from jupyter_containers.errors import EngineError

__all__ = ["Container", "Engine", "EngineError", "Image", "RunResult", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the public names on first use (PEP 562)."""
    if name == "EngineError":
        from jupyter_containers.errors import EngineError  # noqa: PLC0415 - lazy on purpose

        return EngineError
    if name in __all__:
        from jupyter_containers import engine  # noqa: PLC0415 - lazy on purpose

        return getattr(engine, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register ``%container`` and ``%%container``: what ``%load_ext jupyter_containers`` calls."""
    from jupyter_containers.notebook import load  # noqa: PLC0415 - lazy on purpose

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take back what :func:`load_ipython_extension` registered."""
    from jupyter_containers.notebook import unload  # noqa: PLC0415 - lazy on purpose

    unload(shell)
