"""The entry point: reads the command line, protects the interpreter, calls the operation, tells what went wrong.

What enters a container must not show it the host's interpreter: a container that gets hold of a descriptor of it, by
/proc/<pid>/exe, could overwrite it for its owner (the class of CVE-2019-5736). So the operations that do run again from
a copy in memory that nobody can change.
"""

from __future__ import annotations

import fcntl
import gc
import os
import sys

from jupyter_containers.oci_runtime import options
from jupyter_containers.oci_runtime.failure import CommandError
from jupyter_containers.oci_runtime.log import Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

_SEALS = 0x0001 | 0x0002 | 0x0004 | 0x0008  # F_SEAL_SEAL, SHRINK, GROW, WRITE
_GET_SEALS = 1034
_ENTERS = {"create", "run", "exec"}
_NO_SYSTEMD = "cgroups by systemd are not supported: leave --systemd-cgroup out (cgroupfs)"
# The package's own __init__ imports what the command has no use for, so an empty package stands for it.
_BOOTSTRAP = """\
import sys
from types import ModuleType
package = ModuleType("jupyter_containers")
package.__path__ = [sys.argv.pop(1)]
sys.modules["jupyter_containers"] = package
from jupyter_containers.oci_runtime.main import main
main()
"""


class Context:
    """What every operation is given.

    Attributes
    ----------
    root
        The directory of all containers.
    log
        Where warnings go.
    options
        Those of the operation.
    """

    def __init__(self, line: options.Line) -> None:
        given = line.globals
        path = given.value("log")
        self.log = Log(
            os.path.abspath(path) if path else "", given.value("log-format", "text"), debug="debug" in given.switches
        )
        self.options = line.options
        self.operation = line.operation
        root = given.value("root")
        self._root = os.path.abspath(root) if root else ""
        for name in ("pid-file", "console-socket", "process"):
            if path := line.options.value(name):
                line.options.values[name] = [os.path.abspath(path)]  # operations change the working directory
        if "systemd-cgroup" in given.switches:
            self.log.failed(_NO_SYSTEMD)
            sys.exit(1)

    @property
    def root(self) -> str:
        """The directory of all containers."""
        from jupyter_containers.oci_runtime import store  # noqa: PLC0415 - lazy on purpose

        return self._root or store.default_root()

    @property
    def name(self) -> str:
        """The container that was named."""
        return self.options.arguments[0]


def _operation(name: str) -> Callable[[Context], int]:
    """The function of an operation, its module imported now."""
    if name in {"create", "run"}:
        from jupyter_containers.oci_runtime import create  # noqa: PLC0415 - lazy on purpose

        return {"create": create.create, "run": create.run}[name]
    if name == "exec":
        from jupyter_containers.oci_runtime import enter  # noqa: PLC0415 - lazy on purpose

        return enter.execute
    if name in {"start", "kill", "delete"}:
        from jupyter_containers.oci_runtime import lifecycle  # noqa: PLC0415 - lazy on purpose

        return {"start": lifecycle.start, "kill": lifecycle.kill, "delete": lifecycle.delete}[name]
    if name in {"pause", "resume", "update", "events"}:
        from jupyter_containers.oci_runtime import limits  # noqa: PLC0415 - lazy on purpose

        return {"pause": limits.pause, "resume": limits.resume, "update": limits.update, "events": limits.events}[name]
    if name in {"state", "list", "ps"}:
        from jupyter_containers.oci_runtime import show  # noqa: PLC0415 - lazy on purpose

        return {"state": show.state, "list": show.listing, "ps": show.processes}[name]
    from jupyter_containers.oci_runtime import describe  # noqa: PLC0415 - lazy on purpose

    return {"features": describe.features, "spec": describe.template}.get(name, describe.refuse)


def main() -> NoReturn:
    """Run the command line and exit."""
    gc.disable()
    _open_standard_descriptors()
    log = Log()
    try:
        line = options.Line(sys.argv[1:])
        if line.operation in _ENTERS and not _sealed():
            _seal()
        sys.exit(_run(line))
    except BrokenPipeError:
        status = 1
    except KeyboardInterrupt:
        status = 130
    except CommandError as error:
        log.failed(str(error))
        status = error.status
    sys.exit(status)


def _run(line: options.Line) -> int:
    if "version" in line.globals.switches or line.operation == "version":
        from jupyter_containers.oci_runtime import describe  # noqa: PLC0415 - lazy on purpose

        return describe.version()
    if "help" in line.globals.switches | line.options.switches:
        sys.stdout.write(f"{options.usage()}\n")
        return 0
    context = Context(line)
    try:
        return _operation(line.operation)(context)
    except CommandError as error:
        context.log.failed(str(error))
        return error.status
    except OSError as error:
        name = f" {os.fsdecode(error.filename)}" if isinstance(error.filename, (str, bytes)) else ""
        context.log.failed(f"{line.operation}: {(error.strerror or str(error)).lower()}{name}")
        return 1


def _open_standard_descriptors() -> None:
    """Descriptors 0 to 2 are open from here on, so that nothing else gets their numbers."""
    while (descriptor := os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)) <= 2:  # noqa: PLR2004 - standard error
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _sealed() -> bool:
    """Whether this process runs from a copy that nobody can change."""
    descriptor = os.open("/proc/self/exe", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return fcntl.fcntl(descriptor, _GET_SEALS) & _SEALS == _SEALS
    except OSError:
        return False  # no file in memory
    finally:
        os.close(descriptor)


def _seal() -> None:
    """Start again from such a copy."""
    from jupyter_containers.runtime.seal import sealed_copy  # noqa: PLC0415 - once for each command at most

    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    copy = sealed_copy(sys.executable)
    arguments = [sys.executable, "-I", "-S", "-c", _BOOTSTRAP, package, *sys.argv[1:]]
    os.execve(f"/proc/self/fd/{copy}", arguments, os.environ)  # noqa: S606 - a list, no shell
