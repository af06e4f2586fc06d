"""What a user sets once for a notebook: ``%config ContainerMagics.quiet = True``, or ``c.ContainerMagics`` in a
configuration file of IPython.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from traitlets import Bool, Enum, Int
from traitlets.config import Configurable

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


class ContainerMagics(Configurable):
    """The defaults of ``%container`` and ``%%container``; an option of a line is stronger."""

    no_raise = Bool(False, help="Return the result of a failed run instead of raising ContainerFailed.").tag(
        config=True
    )
    quiet = Bool(False, help="Show no output and no progress.").tag(config=True)
    progress = Enum(
        ("auto", "plain"),
        default_value="auto",
        help="How builds, pulls and pushes show progress: a table that is updated in place, or plain lines.",
    ).tag(config=True)
    output_limit = Int(
        128, min=1, help="KiB of output that a cell shows from its beginning; of what is more the end is shown."
    ).tag(config=True)


def register(shell: InteractiveShell) -> ContainerMagics:
    """Make the settings known to ``%config``."""
    made = ContainerMagics(parent=shell)
    shell.configurables.append(made)  # type: ignore[arg-type]  # IPython's annotation is too narrow
    return made


def unregister(shell: InteractiveShell, settings: ContainerMagics) -> None:
    """Undo :func:`register`."""
    shell.configurables.remove(settings)  # type: ignore[arg-type]  # the same
