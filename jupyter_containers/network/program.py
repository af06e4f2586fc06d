"""Command lines of the small programs of this package.

The package's own ``__init__`` would import what they have no use for, so an empty package stands for it.
"""

from __future__ import annotations

import os
import sys

_START = """\
import sys
from importlib import import_module
from types import ModuleType
package = ModuleType("jupyter_containers")
package.__path__ = [sys.argv[1]]
sys.modules["jupyter_containers"] = package
sys.exit(import_module("jupyter_containers.network." + sys.argv[2]).main(*sys.argv[3:]))
"""


def command(module: str, *arguments: str) -> list[str]:
    """The command line that calls ``main`` of a module of this package with texts."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return [sys.executable, "-I", "-S", "-c", _START, package, module, *arguments]
