"""Layers over the kernel's own overlay: what a container sees, and what becomes of its changes.

Each test runs a script in a mount namespace of its own (as an ordinary user also a user namespace), so that no mount
can be left behind.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PRELUDE = """
import io, os, random, stat, subprocess, sys
sys.path[:0] = PATH
from pathlib import Path
from jupyter_containers.layers import disk
from jupyter_containers.layers.apply import apply_layer
from jupyter_containers.layers.base import ApplyOptions, DiffOptions, Item
from jupyter_containers.layers.diff import write_layer
from jupyter_containers.layers.pack import write_items
from jupyter_containers.layers.trees import LocalTrees
from jupyter_containers.layers.view import LayerView
from jupyter_containers.oci.names import Digest
from jupyter_containers.snapshots.base import chain_ids
from jupyter_containers.snapshots.overlay import OverlaySnapshotter

base = Path(BASE)
USER = disk.overlay_style() == "user"

def mount(kind, source, target, options):
    target.mkdir(exist_ok=True)
    if kind == "bind":
        subprocess.run(["mount", "--bind", source, target], check=True)
    else:
        subprocess.run(["mount", "-t", kind, "-o", ",".join(options), source, target], check=True)

def umount(target):
    subprocess.run(["umount", target], check=True)

def overlay(target, lowers, upper=None, work=None):
    options = ["lowerdir=" + ":".join(map(str, lowers)), "index=off"]
    options += ["userxattr"] if USER else ["metacopy=off", "redirect_dir=off"]
    if upper:
        options += [f"upperdir={upper}", f"workdir={work}"]
    mount("overlay", "overlay", target, options)

def look(root, times=True):
    "All that can be seen of a mounted tree."
    seen = {}
    for directory, dirs, files in os.walk(root):
        for name in [*dirs, *files, "."]:
            path = os.path.join(directory, name)
            st = os.lstat(path)
            kind = stat.S_IFMT(st.st_mode)
            extra = b""
            if stat.S_ISLNK(st.st_mode): extra = os.readlink(path)
            elif stat.S_ISREG(st.st_mode): extra = open(path, "rb").read()
            mtime = st.st_mtime_ns // 10**9 if times and not stat.S_ISDIR(st.st_mode) else 0
            listed = os.listxattr(path) if kind in (stat.S_IFREG, stat.S_IFDIR) else []
            xattrs = {n: os.getxattr(path, n) for n in listed if n.startswith("user.")}
            seen[os.path.relpath(path, root)] = (kind, st.st_mode & 0o7777, st.st_uid, st.st_gid, mtime, extra, xattrs)
    return seen

def same(seen, expected):
    "Nothing, or what is different."
    both = {name: (seen.get(name), expected.get(name)) for name in {*seen, *expected}}
    return {name: (mine, wanted) for name, (mine, wanted) in both.items() if mine != wanted}

def pack(path, *items):
    with open(path, "wb") as out:
        return write_items(items, out)
"""


def run(tmp_path: Path, script: str, *, seed: int = 0) -> str:
    code = f"PATH = {sys.path!r}\nBASE = {str(tmp_path)!r}\nSEED = {seed}\n" + PRELUDE + textwrap.dedent(script)
    namespace = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-r", "-m"]
    if subprocess.run([*namespace, "true"], check=False, capture_output=True).returncode:
        pytest.skip("mount namespaces are not to be had here")
    done = subprocess.run([*namespace, sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if "wrong fs type" in done.stderr or "unknown filesystem" in done.stderr:
        pytest.skip("overlay is not to be had here")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("seed", range(6))
def test_diff_and_apply_are_the_identity_over_a_real_overlay(tmp_path: Path, seed: int) -> None:
    """Random work of a container, several times over; then the layer stands in for the upper directory."""
    out = run(
        tmp_path,
        """
        rng = random.Random(SEED)
        NAMES = ["a", "b", "c", "d", "e"]

        def places(root):
            found = [root]
            for directory, dirs, files in os.walk(root):
                found += [Path(directory, n) for n in dirs + files]
            return found

        def work(root, steps):
            for _ in range(steps):
                try:
                    step(root)
                except OSError:
                    continue

        def step(root):
            everything = places(root)
            dirs = [p for p in everything if p.is_dir() and not p.is_symlink()]
            files = [p for p in everything if p.is_file() and not p.is_symlink()]
            others = [p for p in everything if p != root]
            new = rng.choice(dirs) / rng.choice(NAMES)
            match rng.randrange(11):
                case 0 | 1:
                    # NONBLOCK: the name may be that of a fifo.
                    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK, 0o644)
                    os.write(fd, rng.randbytes(rng.randrange(100)))
                    os.close(fd)
                case 2: new.mkdir()
                case 3: new.symlink_to(rng.choice(["x", "../a", "/b"]))
                case 4: os.link(rng.choice(files or [root]), new)
                case 5 | 6: subprocess.run(["rm", "-rf", rng.choice(others or [root / "none"])], check=True)
                case 7: os.chmod(rng.choice(everything), rng.choice([0o700, 0o755, 0o1777, 0o4755]))
                case 8: os.rename(rng.choice(others or [root / "none"]), new)
                case 9: os.setxattr(rng.choice(files or [root]), "user.test", rng.randbytes(3))
                case 10: os.mkfifo(new)

        for round in range(8):
            here = base / str(round)
            for name in ("zero", "one", "upper", "work"):
                (here / name).mkdir(parents=True)
            work(here / "zero", 25)
            work_dir = here / "work0"; work_dir.mkdir()
            overlay(here / "m0", [here / "zero"], here / "one", work_dir)
            work(here / "m0", 15)
            umount(here / "m0")
            lowers = [here / "one", here / "zero"]
            overlay(here / "merged", lowers, here / "upper", here / "work")
            work(here / "merged", 25)
            seen = look(here / "merged")
            umount(here / "merged")

            out = io.BytesIO()
            written = write_layer(here / "upper", out, options=DiffOptions(tuple(lowers)))
            applied = apply_layer(io.BytesIO(out.getvalue()), here / "layer", options=ApplyOptions(tuple(lowers)))
            assert applied.diff_id == written.digest
            overlay(here / "again", [here / "layer", *lowers])
            assert not (wrong := same(look(here / "again"), seen)), wrong
            umount(here / "again")

            # The merged view without a mount sees the same names and kinds.
            with LayerView([here / "upper", *lowers]) as view:
                names = {node.path for node in view.walk("") if node.path}
            assert names == {name for name in seen if not name.endswith(".")}, names ^ set(seen)

            # Normalizing changes nothing that can be seen, and the archive is the same afterwards.
            out2 = io.BytesIO()
            write_layer(here / "upper", out2, options=DiffOptions(tuple(lowers), normalize=True))
            assert out2.getvalue() == out.getvalue()
            out3 = io.BytesIO()
            write_layer(here / "upper", out3, options=DiffOptions(tuple(lowers)))
            assert out3.getvalue() == out.getvalue()
            overlay(here / "third", [here / "upper", *lowers])
            assert not (wrong := same(look(here / "third"), seen)), wrong
            umount(here / "third")
        print("ok")
        """,
        seed=seed,
    )
    assert out == "ok\n"


def test_whiteouts_and_opaque_directories_of_archives_work_in_the_kernel(tmp_path: Path) -> None:
    out = run(
        tmp_path,
        """
        from jupyter_containers.layers.tar import Entry, TarWriter
        pack(base / "one.tar", Item("gone"), Item("d/old"), Item("d/sub/old"), Item("replaced/old"), Item("kept"))
        with open(base / "two.tar", "wb") as out:
            writer = TarWriter(out)
            for name in (b".wh.gone", b"d/new", b"d/.wh..wh..opq", b".wh.replaced", b"replaced/new"):
                writer.add(Entry(name, "file"))
            writer.close()
        apply_layer(open(base / "one.tar", "rb"), base / "one")
        apply_layer(open(base / "two.tar", "rb"), base / "two", options=ApplyOptions((base / "one",)))
        overlay(base / "merged", [base / "two", base / "one"])
        print(sorted(name for name in look(base / "merged") if not name.endswith(".")))
        """,
    )
    assert out == "['d', 'd/new', 'kept', 'replaced', 'replaced/new']\n"


def test_a_build_step_through_the_snapshotter(tmp_path: Path) -> None:
    out = run(
        tmp_path,
        """
        from jupyter_containers.layers.remove import remove_tree
        snapshotter = OverlaySnapshotter(base / "root", LocalTrees(), userxattr=USER)
        etc, tmp = Item("etc", "dir", 0o755, mtime=9), Item("tmp", "dir", 0o1777)
        first = pack(base / "one.tar", etc, Item("etc/a", source=b"a"), tmp)
        [chain] = chain_ids([first.digest])
        snapshotter.unpack(chain, base / "one.tar", diff_id=first.digest, parents=[])
        with snapshotter.prepare([chain]) as scratch:
            [made] = snapshotter.mounts([chain], scratch, volatile=True)
            mount(made["type"], made["source"], base / "root" / "m", made["options"])
            merged = base / "root" / "m"
            (merged / "etc" / "b").write_text("b")
            (merged / "etc" / "hosts").touch()
            (merged / "tmp" / "x").touch()
            (merged / "tmp" / "x").unlink()
            (merged / "etc" / "a").unlink()
            umount(merged)
            with open(base / "two.tar", "wb") as out:
                stubs = frozenset({"etc/hosts"})
                written = snapshotter.diff(scratch, out, timestamp=1000, exclude=stubs, normalize=True)
            chains = chain_ids([first.digest, written.digest])
            snapshotter.commit(scratch, chains[1], written, base / "two.tar")
        with open(base / "two.tar", "rb") as opened:
            from jupyter_containers.layers.tar import TarReader
            print([(e.name.decode(), e.mtime // 10**9) for e in TarReader(opened)])
        [shown] = snapshotter.mounts(chains, None)
        mount(shown["type"], shown["source"], merged, shown["options"])
        names = sorted(name for name in look(merged) if not name.endswith("."))
        print(names, os.stat(merged / "tmp").st_mode & 0o7777 == 0o1777)
        umount(merged)
        remove_tree(base / "root")
        """,
    )
    assert out.splitlines() == [
        "[('etc', 1000), ('etc/.wh.a', 0), ('etc/b', 1000)]",
        "['etc', 'etc/b', 'tmp'] True",
    ]


def test_the_work_directory_the_kernel_leaves_is_removed(tmp_path: Path) -> None:
    out = run(
        tmp_path,
        """
        for name in ("lower", "upper", "work"):
            (base / "s" / name).mkdir(parents=True)
        overlay(base / "m", [base / "s" / "lower"], base / "s" / "upper", base / "s" / "work")
        umount(base / "m")
        print(oct((base / "s" / "work" / "work").stat().st_mode & 0o777))
        """,
    )
    assert out == "0o0\n"
    from jupyter_containers.layers.remove import remove_tree

    remove_tree(tmp_path / "s")
    assert not (tmp_path / "s").exists()
