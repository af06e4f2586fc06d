"""The command ``jupyter-container`` as a process of its own, which is over when the command is."""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and end the process.

    Nothing is collected while modules are imported, for they stay; nor are they taken apart, object by object, when
    the process ends and all of it goes at once. Both together would be a fifth of a short command's time.
    """
    gc.disable()
    from jupyter_containers.cli import main as run  # noqa: PLC0415 - after the line above

    status = run()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # what cannot be written was told already, and leads to nowhere now
    os._exit(status)


if __name__ == "__main__":
    main()
