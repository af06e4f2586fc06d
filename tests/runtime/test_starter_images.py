"""The embedded images, unpacked by the standard library's tarfile and entered with chroot."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.content.store import ContentStore
from jupyter_containers.images import starter
from jupyter_containers.images.model import Image
from jupyter_containers.images.starter.base import find_static_busybox
from jupyter_containers.images.starter.libraries import LibraryFinder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

REPOSITORY = Path(__file__).resolve().parents[2]
SITE_PACKAGES = next(path for path in sys.path if path.endswith("site-packages"))
HAS_BUSYBOX = find_static_busybox(LibraryFinder()) is not None

VARIANTS = [
    pytest.param(
        True, id="busybox", marks=pytest.mark.skipif(not HAS_BUSYBOX, reason="no static busybox is installed")
    ),
    pytest.param(False, id="tools"),
]

MAKE = """
import sys
from pathlib import Path
from jupyter_containers.content.store import ContentStore
from jupyter_containers.images import starter
store = ContentStore(Path(sys.argv[1]))
store.ensure()
print(starter.make(sys.argv[2], store, busybox=sys.argv[3] == "True").digest)
"""


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    store = ContentStore(tmp_path / "store")
    store.ensure()
    return store


def unpack(store: ContentStore, image: Image, target: Path) -> Path:
    target.mkdir()
    for layer in image.layers:
        with tarfile.open(store.path(layer.digest)) as archive:
            archive.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)  # not in Python 3.11.2
            archive.extractall(target)
    return target


def enter(root: Path, command: Sequence[str], environment: Mapping[str, str]) -> str:
    as_root = [] if os.geteuid() == 0 else ["unshare", "-r"]
    done = subprocess.run(
        [*as_root, "chroot", str(root), *command],
        env={"PATH": os.environ["PATH"], **environment},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def environment_of(image: Image) -> dict[str, str]:
    return dict(entry.split("=", 1) for entry in image.settings.env or [])


@pytest.mark.parametrize("busybox", VARIANTS)
def test_the_shell_and_the_tools_run(store: ContentStore, tmp_path: Path, *, busybox: bool) -> None:
    image = Image.read(store, starter.make("starter", store, busybox=busybox))
    root = unpack(store, image, tmp_path / "root")
    script = """
        set -e
        echo one two | grep -o two; printf 'b\\na\\n' | sort | head -n 1; echo x1 | sed s/1/2/
        id -u; id -un nobody; ls -d /tmp; cat /etc/os-release | wc -l; test -d /proc && uname -s
        mkdir /tmp/d; ln -s d /tmp/l; cp /etc/passwd /tmp/l/p; mv /tmp/d/p /tmp/q; rm -r /tmp/d /tmp/q /tmp/l
        env | grep -c '^PATH='; tail -n 1 /etc/group; sleep 0; true; ! false; hostname >/dev/null
    """

    printed = enter(root, ["/bin/sh", "-c", script], environment_of(image)).split("\n")

    assert printed == ["two", "a", "x2", "0", "nobody", "/tmp", "3", "Linux", "1", "nogroup:x:65534:", ""]
    assert image.settings.cmd == ["/bin/sh"]
    assert (root / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert (root / "root").stat().st_mode & 0o777 == 0o700


def interpreters() -> list[str]:
    candidates = [sys.executable, "/usr/bin/python3"]
    return [path for path in dict.fromkeys(candidates) if os.path.exists(path)]


def can_make(interpreter: str) -> bool:
    """Whether the interpreter can import what is used here: wheels are for one version of Python."""
    probe = [interpreter, "-c", "import msgspec"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": SITE_PACKAGES}
    return subprocess.run(probe, check=False, capture_output=True, env=environment).returncode == 0


@pytest.mark.parametrize("busybox", VARIANTS)
@pytest.mark.parametrize("interpreter", interpreters())
def test_python_runs_with_its_standard_library(
    store: ContentStore, tmp_path: Path, interpreter: str, *, busybox: bool
) -> None:
    if not can_make(interpreter):
        pytest.skip(f"{interpreter} is of another version than the packages here")
    started = time.monotonic()
    made = subprocess.run(
        [interpreter, "-c", MAKE, str(store.root), "starter-python", str(busybox)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{REPOSITORY}:{SITE_PACKAGES}"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    assert time.monotonic() - started < 30  # about one second on an idle machine
    version = subprocess.run([interpreter, "-V"], check=True, capture_output=True, text=True).stdout.split()[1]
    image = find(store, made.stdout.strip())
    root = unpack(store, image, tmp_path / "root")
    program = """
import ssl, sqlite3, json, ctypes, hashlib, zlib, bz2, lzma, decimal, readline, socket, subprocess, asyncio, sys, os
import uuid, multiprocessing, unittest, http.client, email.message, importlib.util
assert sqlite3.connect(":memory:").execute("select 6 * 7").fetchone() == (42,)
assert ssl.create_default_context().cert_store_stats()["x509_ca"] > 0 or "SSL_CERT_FILE" not in os.environ
assert ctypes.CDLL(None).getpid() == os.getpid()
assert os.path.basename(json.__cached__).startswith("__init__.cpython-")
assert subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True).stdout == b"1\\n"
assert json.dumps.__code__.co_filename == json.__file__
print(sys.version.split()[0], sys.prefix, sys.flags.utf8_mode or sys.getfilesystemencoding())
"""

    printed = enter(root, ["python3", "-B", "-c", program], environment_of(image)).split()

    assert printed[0] == version == (image.manifest.annotations or {})["org.opencontainers.image.version"]
    assert printed[1] in {"/usr", "/usr/local"}
    assert image.settings.cmd == ["python3"]
    assert image.labels["jupyter-containers.starter"].startswith(f"Python {version} of ")
    left_out = ["test", "idlelib", "tkinter", "ensurepip", "site-packages"]
    library = root / printed[1][1:] / "lib" / f"python{version.rpartition('.')[0]}"
    assert [name for name in left_out if (library / name).exists()] == []


def find(store: ContentStore, digest: str) -> Image:
    from jupyter_containers.oci.image_spec import OCI_MANIFEST, Descriptor
    from jupyter_containers.oci.names import Digest

    return Image.read(store, Descriptor(OCI_MANIFEST, digest, store.size(Digest(digest))))


def test_the_same_machine_gives_the_same_digests(tmp_path: Path) -> None:
    digests = []
    for name in ("first", "second"):
        store = ContentStore(tmp_path / name)
        store.ensure()
        digests.append([starter.make(image, store).digest for image in starter.STARTERS])

    assert digests[0] == digests[1]


def test_starter_python_stands_on_the_layer_of_starter(store: ContentStore) -> None:
    plain = Image.read(store, starter.make("starter", store))
    python = Image.read(store, starter.make("starter-python", store))

    assert python.layers[0] == plain.layers[0]
    assert len(python.layers) == 2
    assert [step.layer for step in python.history] == [*python.layers, None]


@pytest.mark.root
def test_an_ordinary_user_gets_the_same_image_as_root(
    store: ContentStore, as_user: Callable[..., tuple[int, list[str]]]
) -> None:
    interpreter = "/usr/bin/python3"
    if not os.path.exists(interpreter) or not can_make(interpreter):
        pytest.skip(f"{interpreter} cannot import the packages here")
    expected = subprocess.run(
        [interpreter, "-c", MAKE, str(store.root), "starter-python", "True"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{REPOSITORY}:{SITE_PACKAGES}"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    check = MAKE.replace("sys.argv[1]", "os.environ['HOME'] + '/store'").replace("import sys", "import os, sys")
    check += "assert starter.make(sys.argv[2], store).digest == sys.argv[4]\n"

    status, left = as_user(
        "single",
        [interpreter, "-c", check, "", "starter-python", "True", expected],
        extra={"PYTHONPATH": f"{REPOSITORY}:{SITE_PACKAGES}"},
        cwd=Path("/"),
    )

    assert (status, left) == (0, [])


def test_there_is_no_other_embedded_image(store: ContentStore) -> None:
    from jupyter_containers.errors import NotFound

    with pytest.raises(NotFound, match="starter-ruby"):
        starter.make("starter-ruby", store)
