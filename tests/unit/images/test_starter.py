from __future__ import annotations

import importlib.util
import marshal
import os
import py_compile
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jupyter_containers.errors import Corrupt, InvalidInput, Unsupported
from jupyter_containers.images.starter import is_starter
from jupyter_containers.images.starter.base import find_program, make_base
from jupyter_containers.images.starter.bytecode import compile_module, compiled_name
from jupyter_containers.images.starter.elf import Elf, is_elf, read_elf
from jupyter_containers.images.starter.libraries import Closure, Library, LibraryFinder, parse_cache
from jupyter_containers.images.starter.python import Installation, add_libraries, running_installation
from jupyter_containers.images.starter.tree import Copy, Data, Directory, Link, Tree
from jupyter_containers.oci.names import Reference


def make_elf(
    path: Path,
    *,
    needed: tuple[str, ...] = (),
    interpreter: str = "",
    runpath: str = "",
    rpath: str = "",
    bits: int = 64,
    order: str = "<",
    machine: int = 62,
) -> Path:
    """A file that is an ELF file as far as the loader's tables go: one loaded segment of everything."""
    strings = b"\0"
    entries = []
    for tag, text in [*((1, name) for name in needed), (29, runpath), (15, rpath)]:
        if text:
            entries.append((tag, len(strings)))
            strings += text.encode() + b"\0"
    header_size, segment_size = (64, 56) if bits == 64 else (52, 32)
    segments = 3 if interpreter else 2
    start = header_size + segments * segment_size
    interp = interpreter.encode() + b"\0"
    entries += [(5, 0x1000 + start + len(interp)), (10, len(strings)), (0, 0)]
    dynamic = b"".join(struct.pack(order + ("qQ" if bits == 64 else "iI"), *entry) for entry in entries)
    body = interp + strings + dynamic
    total = start + len(body)

    def segment(kind: int, offset: int, size: int) -> bytes:
        if bits == 64:
            return struct.pack(order + "IIQQQQQQ", kind, 4, offset, 0x1000 + offset, 0, size, size, 8)
        return struct.pack(order + "IIIIIIII", kind, offset, 0x1000 + offset, 0, size, size, 4, 4)

    table = segment(1, 0, total) + segment(2, start + len(interp) + len(strings), len(dynamic))
    if interpreter:
        table += segment(3, start, len(interp))
    ident = b"\x7fELF" + bytes([2 if bits == 64 else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    shape = "HHIQQQIHHH" if bits == 64 else "HHIIIIIHHH"
    header = ident + struct.pack(
        order + shape, 3, machine, 1, 0, header_size, 0, 0, header_size, segment_size, segments
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header.ljust(header_size, b"\0") + table + body)
    path.chmod(0o755)
    return path


# -- ELF -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_tables_of_the_loader(tmp_path: Path, bits: int, order: str) -> None:
    path = make_elf(
        tmp_path / "p",
        needed=("liba.so", "libb.so.1"),
        interpreter="/lib/ld.so",
        runpath="$ORIGIN/x:/y",
        bits=bits,
        order=order,
    )

    elf = read_elf(str(path))

    assert elf == Elf(
        (bits // 32, 1 if order == "<" else 2, 62),
        "/lib/ld.so",
        ("liba.so", "libb.so.1"),
        None,
        (),
        ("$ORIGIN/x", "/y"),
    )
    assert not elf.is_static


def test_rpath_does_not_count_beside_runpath(tmp_path: Path) -> None:
    both = read_elf(str(make_elf(tmp_path / "both", rpath="/r", runpath="/u")))
    alone = read_elf(str(make_elf(tmp_path / "alone", rpath="/r")))

    assert (both.rpath, both.runpath) == ((), ("/u",))
    assert (alone.rpath, alone.runpath) == (("/r",), ())


def test_the_running_interpreter_is_read_as_readelf_does() -> None:
    elf = read_elf(os.path.realpath(sys.executable))

    assert elf.interpreter is not None
    assert os.path.exists(elf.interpreter)
    assert any(name.startswith(("libc.", "libpython")) for name in elf.needed)


@given(st.binary(max_size=300), st.integers(0, 200))
@example(noise=b"\0\1" + b"\0" * 15 + b"\1\0\0", keep=38)  # program headers where no file can reach
def test_damaged_files_are_corrupt_and_never_anything_else(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, keep: int
) -> None:
    path = tmp_path_factory.mktemp("elf") / "p"
    make_elf(path, needed=("liba.so",), interpreter="/lib/ld.so")
    path.write_bytes(path.read_bytes()[:keep] + noise)
    with suppress(Corrupt):
        assert read_elf(str(path)).target[2] >= 0


def test_what_is_no_elf_file(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n", encoding="utf-8")

    assert not is_elf(str(tmp_path / "script"))
    assert not is_elf(str(tmp_path / "missing"))
    with pytest.raises(Corrupt):
        read_elf(str(tmp_path / "script"))


# -- libraries -------------------------------------------------------------------------------------------------------


def finder(*directories: Path) -> LibraryFinder:
    """Looks nowhere but in these directories."""
    made = LibraryFinder(library_path=[str(directory) for directory in directories], cache_file="/nonexistent")
    made.__dict__["default_directories"] = []
    return made


def test_the_closure_follows_libraries_of_libraries(tmp_path: Path) -> None:
    program = make_elf(tmp_path / "p", needed=("liba.so",), interpreter="/lib/ld.so")
    make_elf(tmp_path / "lib/liba.so", needed=("libb.so", "ld.so"))
    make_elf(tmp_path / "lib/libb.so", needed=("liba.so",))

    closure = finder(tmp_path / "lib").closure([str(program)])

    assert closure == Closure(
        ("/lib/ld.so",),
        (Library("liba.so", f"{tmp_path}/lib/liba.so"), Library("libb.so", f"{tmp_path}/lib/libb.so")),
    )


def test_search_paths_know_their_origin_and_their_order(tmp_path: Path) -> None:
    """ld.so(8): DT_RPATH, LD_LIBRARY_PATH, DT_RUNPATH."""
    by_rpath = make_elf(tmp_path / "bin/p", needed=("liba.so",), rpath="$ORIGIN/../own")
    by_runpath = make_elf(tmp_path / "bin/q", needed=("liba.so",), runpath="${ORIGIN}/../own")
    for directory in ("own", "lib"):
        make_elf(tmp_path / directory / "liba.so")
    own = (Library("liba.so", f"{tmp_path}/own/liba.so", by_search_path=True),)

    assert finder(tmp_path / "lib").closure([str(by_rpath)]).libraries == own
    assert finder(tmp_path / "lib").closure([str(by_runpath)]).libraries[0].path == f"{tmp_path}/lib/liba.so"
    assert finder().closure([str(by_runpath)]).libraries == own


def test_rpath_is_inherited_and_runpath_is_not(tmp_path: Path) -> None:
    make_elf(tmp_path / "own/liba.so", needed=("libb.so",))
    make_elf(tmp_path / "own/libb.so")
    by_rpath = make_elf(tmp_path / "p", needed=("liba.so",), rpath=f"{tmp_path}/own")
    by_runpath = make_elf(tmp_path / "q", needed=("liba.so",), runpath=f"{tmp_path}/own")

    assert len(finder().closure([str(by_rpath)]).libraries) == 2
    with pytest.raises(Unsupported, match=r"libb\.so that .*liba\.so needs"):
        finder().closure([str(by_runpath)])


def test_a_library_for_another_machine_is_passed_over(tmp_path: Path) -> None:
    program = make_elf(tmp_path / "p", needed=("liba.so",))
    make_elf(tmp_path / "first/liba.so", machine=183)
    make_elf(tmp_path / "second/liba.so", bits=32)
    make_elf(tmp_path / "third/liba.so")

    (library,) = finder(*(tmp_path / name for name in ("first", "second", "third"))).closure([str(program)]).libraries

    assert library.path == f"{tmp_path}/third/liba.so"


def test_the_cache_of_the_loader() -> None:
    strings = b"liba.so\0/lib/liba.so\0/lib/hwcaps/liba.so\0libb.so\0relative\0"
    base = 48 + 3 * 24
    at = {
        text: base + strings.index(text) for text in (b"liba.so\0/", b"/lib/liba", b"/lib/hwcaps", b"libb", b"relative")
    }
    rows = [
        (3, at[b"liba.so\0/"], at[b"/lib/hwcaps"], 0, 1 << 62),
        (3, at[b"liba.so\0/"], at[b"/lib/liba"], 0, 0),
        (3, at[b"libb"], at[b"relative"], 0, 0),
    ]
    table = b"".join(struct.pack("=iIIIQ", *row) for row in rows)
    cache = b"glibc-ld.so.cache1.1" + struct.pack("=IIB3xI12x", 3, len(strings), 2, 0) + table + strings

    assert parse_cache(cache) == {"liba.so": ["/lib/liba.so"]}
    assert parse_cache(cache[: 48 + 30]) == {}


@given(st.binary(max_size=300))
def test_any_cache_file_can_be_read(data: bytes) -> None:
    assert isinstance(parse_cache(b"glibc-ld.so.cache1.1" + data), dict)


@pytest.mark.peer
def test_the_closure_is_that_of_ldd() -> None:
    program = find_program("ls")
    if program is None or not os.path.exists("/usr/bin/ldd"):
        pytest.skip("ls or ldd is not installed as on other machines")
    printed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    expected = {tuple(line.split()[:3:2]) for line in printed.splitlines() if "=> /" in line}

    found = {(library.name, library.path) for library in LibraryFinder().closure([program]).libraries}

    assert found == expected


# -- trees -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/lib/a", "/usr/lib/a"),
        ("/lib64/a", "/usr/lib64/a"),
        ("/usr/lib/a", "/usr/lib/a"),
        ("/opt/../bin/a", "/usr/bin/a"),
        ("/library/a", "/library/a"),
    ],
)
def test_places_in_the_image(path: str, place: str) -> None:
    assert Tree.place(path) == place


def test_directories_are_added_before_what_is_in_them() -> None:
    tree = Tree(below={"/etc": Directory(), "/etc/a": Data(b"")})

    assert tree.add("/usr/share/x", Data(b"1"))
    assert not tree.add("/usr/share/x", Data(b"2"))
    assert not tree.add("/etc/a", Data(b"2"))
    assert tree.add("/etc/b", Link("a"))
    assert [path for path, _ in tree] == ["/etc/b", "/usr", "/usr/share", "/usr/share/x"]
    with pytest.raises(InvalidInput):
        tree.add("/etc/a/b", Data(b""))
    for bad in ("relative", "/a/../b", "/", "/a/"):
        with pytest.raises(InvalidInput):
            tree.add(bad, Data(b""))


def test_a_machine_without_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jupyter_containers.images.starter.base.find_program", lambda _name: None)

    with pytest.raises(Unsupported, match="no /bin/sh"):
        make_base(LibraryFinder())


def test_a_relocated_library_is_found_by_a_link_too(tmp_path: Path) -> None:
    installation = Installation("3.14.0", "3.14", "/opt/py", "/opt/py/bin/python3.14", "/opt/py/lib/python3.14", "")
    own = make_elf(tmp_path / "libown.so")
    tree = Tree(below={"/usr/lib": Directory(), "/usr/lib/libz.so": Data(b"")})
    closure = Closure(
        (),
        (
            Library("libpython.so", "/opt/py/lib/libpython.so", by_search_path=True),
            Library("libz.so", "/opt/py/lib/libz.so", by_search_path=True),
            Library("libown.so", str(own)),
        ),
    )

    add_libraries(tree, closure, installation, "/lib")

    nodes = {path: node for path, node in tree if not isinstance(node, Directory)}
    assert nodes == {
        "/usr/local/lib/libpython.so": Copy("/opt/py/lib/libpython.so", 0o755),
        "/usr/local/lib/libz.so": Copy("/opt/py/lib/libz.so", 0o755),
        "/usr/lib/libpython.so": Link("/usr/local/lib/libpython.so"),
        "/usr/lib/libown.so": Copy(str(own), 0o755),
    }


def test_the_running_installation() -> None:
    installation = running_installation()

    assert os.path.isfile(os.path.join(installation.stdlib, "os.py"))
    assert is_elf(installation.executable)
    assert installation.relocate(installation.stdlib) == (
        f"{installation.image_prefix}/lib/python{installation.short_version}"
    )
    assert installation.relocate("/nowhere") is None


# -- compiled modules ------------------------------------------------------------------------------------------------


def test_installed_and_fresh_modules_have_the_same_bytes(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_bytes(Path(os.__file__).read_bytes())
    fresh = compile_module(str(source), "/usr/lib/module.py")
    assert not Path(compiled_name(str(source))).exists()

    for mode in py_compile.PycInvalidationMode:
        py_compile.compile(str(source), invalidation_mode=mode, doraise=True)
        assert compile_module(str(source), "/usr/lib/module.py") == fresh

    assert fresh[:4] == importlib.util.MAGIC_NUMBER
    assert fresh[4:8] == b"\x01\0\0\0"
    assert marshal.loads(fresh[16:]).co_filename == "/usr/lib/module.py"
    assert str(tmp_path).encode() not in fresh


def test_an_outdated_installed_module_is_not_used(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text("x = 1\n", encoding="utf-8")
    py_compile.compile(str(source), doraise=True)
    source.write_text("x = 22\n", encoding="utf-8")

    assert marshal.loads(compile_module(str(source), "/m.py")[16:]).co_consts[0] == 22


def test_a_damaged_installed_module_is_not_used(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text("x = 1\n", encoding="utf-8")
    expected = compile_module(str(source), "/m.py")
    py_compile.compile(str(source), doraise=True)
    path = Path(compiled_name(str(source)))
    path.write_bytes(path.read_bytes()[:30])

    assert compile_module(str(source), "/m.py") == expected


def test_what_is_no_module(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text("def\n", encoding="utf-8")

    with pytest.raises(InvalidInput):
        compile_module(str(source), "/m.py")


# -- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("starter", True),
        ("starter:latest", True),
        ("starter-python", True),
        ("starter:1", False),
        ("starter-ruby", False),
        ("team/starter", False),
        ("example.org/starter", False),
        (f"starter@sha256:{'0' * 64}", False),
    ],
)
def test_which_names_are_embedded_images(name: str, expected: bool) -> None:
    assert is_starter(Reference.parse(name)) is expected
