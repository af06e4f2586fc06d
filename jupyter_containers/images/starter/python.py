"""The layer of ``starter-python``: the interpreter that runs this package, its standard library and their libraries."""

from __future__ import annotations

import os
import ssl
import sys
import sysconfig

from jupyter_containers.errors import Corrupt, InvalidInput, Unsupported
from jupyter_containers.images.starter.base import add_closure, add_terminals, opened_by_libc
from jupyter_containers.images.starter.bytecode import compile_module, compiled_name
from jupyter_containers.images.starter.elf import is_elf
from jupyter_containers.images.starter.libraries import Closure, Library, LibraryFinder
from jupyter_containers.images.starter.tree import Data, Tree
from jupyter_containers.records import dataclass

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_CERTIFICATE_FILES = (
    CERTIFICATES,
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_KEPT_PREFIXES = ("/usr", "/usr/local")
_RELOCATED = "/usr/local"

# Tests, other windows than the terminal's, and what other packages put there.
_LEFT_OUT_DIRECTORIES = frozenset(
    {"__pycache__", "test", "tests", "idlelib", "idle_test", "tkinter", "turtledemo", "ensurepip"}
    | {"site-packages", "dist-packages", "lib-dynload"}
)
_LEFT_OUT_FILES = frozenset({"EXTERNALLY-MANAGED", "sitecustomize.py", "usercustomize.py", "turtle.py"})
_LEFT_OUT_PREFIXES = ("config-",)
# Extension modules: tests of the interpreter, tkinter, and nis (removed in 3.13), which needs Kerberos.
_LEFT_OUT_EXTENSIONS = ("_test", "_ctypes_test", "_xx", "xx", "_tkinter", "nis.", "_xxtestfuzz")


@dataclass(frozen=True, slots=True)
class Installation:
    """Where an interpreter is installed, all paths absolute and without symbolic links."""

    version: str  # 3.11.7
    short_version: str  # 3.11
    prefix: str
    executable: str
    stdlib: str
    extensions: str

    @property
    def image_prefix(self) -> str:
        """The prefix in the image: the same where it is a standard one, else ``/usr/local``."""
        return self.prefix if self.prefix in _KEPT_PREFIXES else _RELOCATED

    def relocate(self, path: str) -> str | None:
        """The path in the image for one below the prefix, None for any other."""
        if not path.startswith(f"{self.prefix}/"):
            return None
        return f"{self.image_prefix}/{os.path.relpath(path, self.prefix)}"


def running_installation() -> Installation:
    """The installation that the running interpreter belongs to; for a virtual environment the one it was made of.

    Raises
    ------
    Unsupported
        when its standard library is no directory below its prefix (zipped and embedded interpreters).
    """
    short = f"{sys.version_info.major}.{sys.version_info.minor}"
    prefix = os.path.realpath(sys.base_exec_prefix)
    candidates = [os.path.join(prefix, "bin", f"python{short}"), os.path.join(prefix, "bin", "python3"), sys.executable]
    executable = next((os.path.realpath(path) for path in candidates if path and is_elf(path)), None)
    stdlib = os.path.realpath(sysconfig.get_path("stdlib"))
    platlib = os.path.realpath(sysconfig.get_path("platstdlib", vars={"platbase": sys.base_exec_prefix}))
    if executable is None or not os.path.isfile(os.path.join(stdlib, "os.py")) or not stdlib.startswith(f"{prefix}/"):
        raise Unsupported(
            f"the starter-python image cannot be made of {sys.executable}: its standard library is not below {prefix}",
            hint="use the starter image, or an interpreter that is installed in the usual way",
        )
    return Installation(
        version=sys.version.split()[0],
        short_version=short,
        prefix=prefix,
        executable=executable,
        stdlib=stdlib,
        extensions=os.path.join(platlib, "lib-dynload"),
    )


def make_python(tree: Tree, finder: LibraryFinder, installation: Installation, *, bytecode: bool = True) -> None:
    """Add an interpreter to a tree that stands on the starter's.

    Parameters
    ----------
    tree
        What is added to; its ``below`` is the starter layer.
    finder
        Finds libraries.
    installation
        The interpreter, of the version that runs this code when ``bytecode`` is wanted.
    bytecode
        Add compiled modules: imports take a quarter of the time, and the layer is a quarter larger.

    Raises
    ------
    Unsupported
        when a library of the interpreter itself is missing.
    """
    home = os.path.join(installation.image_prefix, "bin")
    name = f"python{installation.short_version}"
    tree.add_copy(f"{home}/{name}", installation.executable, program=True)
    tree.add_link(f"{home}/python3", name)
    tree.add_link(f"{home}/python", "python3")
    _add_stdlib(tree, installation, bytecode=bytecode)
    extensions = _add_extensions(tree, finder, installation)
    libc = finder.libc_directory(installation.executable)
    add_libraries(tree, finder.closure([installation.executable, *extensions]), installation, libc)
    opened = opened_by_libc(finder, installation.executable)
    add_closure(tree, Closure((), tuple(Library(os.path.basename(path), path) for path in opened)), libc)
    add_terminals(tree)
    _add_certificates(tree)


def add_libraries(tree: Tree, closure: Closure, installation: Installation, libc_directory: str) -> None:
    """Add libraries, those of the installation with it.

    A program that found one of them by an absolute search path does not find it after a relocation, so there is a
    link to it in the C library's directory, unless another library of that name is there.
    """
    elsewhere = []
    for library in closure.libraries:
        directory = installation.relocate(os.path.join(os.path.dirname(library.path), library.name))
        if directory is None:
            elsewhere.append(library)
            continue
        path = tree.place(directory)
        tree.add_copy(path, library.path, program=True)
        tree.add_link(tree.place(os.path.join(libc_directory, library.name)), path)
    add_closure(tree, Closure(closure.interpreters, tuple(elsewhere)), libc_directory)


def _add_stdlib(tree: Tree, installation: Installation, *, bytecode: bool) -> None:
    for directory, names, files in os.walk(installation.stdlib):
        names[:] = sorted(name for name in names if _is_wanted_directory(name))
        for name in sorted(files):
            source = os.path.join(directory, name)
            if name in _LEFT_OUT_FILES or not _is_inside(source, installation.stdlib):
                continue
            path = installation.relocate(source)
            if path is None:
                continue
            tree.add_copy(path, source)
            if bytecode and name.endswith(".py"):
                _add_compiled(tree, source, path)


def _add_compiled(tree: Tree, source: str, path: str) -> None:
    try:
        tree.add(compiled_name(path), Data(compile_module(source, path)))
    except InvalidInput:  # templates such as lib2to3's test data are no valid modules; the source alone serves
        return


def _add_extensions(tree: Tree, finder: LibraryFinder, installation: Installation) -> list[str]:
    """Add the extension modules whose libraries are all there, and return their paths on the machine."""
    added: list[str] = []
    try:
        names = sorted(os.listdir(installation.extensions))
    except FileNotFoundError:  # everything is built into the interpreter
        return added
    for name in names:
        source = os.path.join(installation.extensions, name)
        path = installation.relocate(source)
        if path is None or ".so" not in name or name.startswith(_LEFT_OUT_EXTENSIONS):
            continue
        try:
            finder.closure([source])
        except (Unsupported, Corrupt, OSError):  # it cannot be imported here either
            continue
        tree.add_copy(path, source, program=True)
        added.append(source)
    return added


def _add_certificates(tree: Tree) -> None:
    own = ssl.get_default_verify_paths().cafile
    for source in (*_CERTIFICATE_FILES, *([own] if own else [])):
        if os.path.isfile(source) and os.access(source, os.R_OK):
            tree.add_copy(CERTIFICATES, source)
            return


def _is_wanted_directory(name: str) -> bool:
    return name not in _LEFT_OUT_DIRECTORIES and not name.startswith(_LEFT_OUT_PREFIXES)


def _is_inside(path: str, directory: str) -> bool:
    """Whether a path is a readable regular file, or a link to one, in the directory."""
    real = os.path.realpath(path)
    return real.startswith(f"{directory}/") and os.path.isfile(real) and os.access(real, os.R_OK)
