"""The Dockerfiles of ``tests/corpus`` as builds: the base they begin with, a context for all, images as trees."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shlex
import shutil
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support import rootfs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jupyter_containers.engine import Engine
    from jupyter_containers.engine import Image as BuiltImage

CASES = Path(__file__).parents[1] / "corpus" / "dockerfile" / "cases"
NAMES = tuple(sorted(path.stem for path in CASES.glob("*.dockerfile")))

IMAGES = (
    "alpine:latest", "alpine:3.22", "alpine:1-5", "alpine:1", "alpine:2", "busybox:latest", "busybox:1",
    "debian:12", "debian:12-slim", "golang:1.24", "mcr.example/windows:latest", "python:latest", "python:3.13-slim",
    "registry.example:5000/team/tool:1",
)  # fmt: skip
"""The names under which the cases know the base."""

STUBS = (
    *(
        "a",
        "ab",
        "apk",
        "apt-get",
        "b",
        "bash",
        "build",
        "c",
        "dir",
        "go",
        "line",
        "make",
        "nvidia-smi",
        "pip",
        "python",
    ),
    *("python3", "one", "two", "d", "git", "venv/bin/pip", "./go"),
)
"""Programs that the cases run: each notes how it was called in ``/ran``."""
NEWER = frozenset((
    "add-forms", "add-unpack", "arg-target-stage", "copy-chmod-symbolic", "copy-exclude", "copy-heredoc",
    "copy-heredoc-forms", "copy-heredocs", "copy-link", "copy-parents", "env-modifiers-patterns", "env-modifiers-posix",
    "healthcheck-forms", "healthcheck-start-interval", "onbuild-forms", "onbuild-from-stage", "realistic-debian",
    "run-heredoc", "run-heredoc-continued", "run-heredoc-empty", "run-heredoc-forms", "run-heredoc-interpreter",
    "run-heredoc-several", "run-heredoc-shebang", "run-heredoc-tabs", "run-heredoc-with-flags", "run-mount-secret-env",
    "run-mount-targets", "run-network", "stages-case",
))  # fmt: skip
"""What Docker 20.10 does not know yet, and can be built: what it comes to is written beside the case (``.built``)."""

CAPABLE = "\x01\0\0\x02\0\x20" + 14 * "\0"
"""The attribute of a program that has CAP_NET_RAW (capabilities(7), "File capability extended attribute")."""

STUB = '#!/bin/sh\necho "$0 $*" >> /ran\n'


def make_base(directory: Path) -> Path:
    """A tar of the base: busybox, some users, links, an extended attribute; and what the cases run and copy."""
    root = rootfs.make(directory / "base")
    (root / "venv/bin").mkdir(parents=True)
    for name in STUBS:
        program = root / (name if "/" in name else f"bin/{name}")
        program.write_text(STUB)
        program.chmod(0o755)
    for name in ("dev", "proc", "sys", "usr/bin", "x"):
        (root / name).mkdir(parents=True)
    (root / "usr/bin/env").symlink_to("/bin/busybox")
    (root / "x/file").write_text("of the base")
    (root / "out").mkdir()
    for name in ("a", "b", "out/file", "x/x"):
        (root / name).write_text("of the base")
    (root / "link").symlink_to("x/file")
    (root / "dirlink").symlink_to("x")
    (root / "srv/old/deep").mkdir(parents=True)
    (root / "srv/old/deep/file").write_text("old")
    (root / "srv/old/file").write_text("old")
    (root / "srv/old").chmod(0o750)
    os.link(root / "srv/old/file", root / "srv/hard")
    path = directory / "base.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.add(root, arcname=".", filter=_owned)
    return path


def _owned(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid, entry.gid = (1000, 1000) if entry.name.startswith("./home/alice") else (0, 0)
    entry.uname = entry.gname = ""
    return entry


def make_context(directory: Path) -> Path:
    """A folder that the cases copy from."""
    directory.mkdir()
    files = {
        "a": "a", "b": "b", "c": "c", "a.txt": "text a", "b.txt": "text b", "with space": "space", "empty": "",
        "other": "other", "x": "x",
        "pyproject.toml": "[project]", "README.md": "readme", "src/main.py": "main", "src/deep/er/leaf": "leaf",
        "src/deep/notes.md": "notes", "src/[odd]": "odd", "src/.hidden": "hidden", "ignored/x": "ignored",
        "ignored/kept": "kept", "wide/f1": "1", "wide/f2": "2", "wide/g1": "3", "file-ü": "non-ASCII",
    }  # fmt: skip
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (directory / ".dockerignore").write_text("ignored/*\n!ignored/kept\n")
    (directory / "a").chmod(0o755)
    (directory / "b").chmod(0o600)
    (directory / "src/deep").chmod(0o700)
    (directory / "wide/f1").chmod(0o4755)
    (directory / "wide/f2").chmod(0o2644)
    (directory / "hollow").mkdir(mode=0o755)
    (directory / "sticky").mkdir()
    (directory / "sticky").chmod(0o1777)
    (directory / "to-a").symlink_to("a")
    (directory / "to-src").symlink_to("src")
    (directory / "src/up").symlink_to("../a")
    (directory / "src/dangling").symlink_to("/nowhere/at/all")
    os.link(directory / "a.txt", directory / "wide/hard1")
    os.link(directory / "a.txt", directory / "wide/hard2")
    for name, mode in (("archive.tar", "w"), ("archive.tar.gz", "w:gz"), ("archive.tar.bz2", "w:bz2")):
        _archive(directory / name, mode)
    _archive(directory / "archive.txz", "w:xz")
    shutil.copy(directory / "archive.tar.gz", directory / "disguised")
    (directory / "fake.tar.gz").write_text("no archive at all")
    for path in directory.rglob("*"):
        os.utime(path, (1_600_000_000, 1_600_000_000), follow_symlinks=False)
    return directory


def _archive(path: Path, mode: str) -> None:
    """Directories, links of both kinds, owners, modes, an extended attribute."""
    with tarfile.open(path, mode, format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]  # of the table above
        for name, kind, more in (
            ("top", tarfile.DIRTYPE, {"mode": 0o750, "uid": 7, "gid": 8}),
            ("top/file", tarfile.REGTYPE, {"mode": 0o640, "uid": 7, "gid": 8}),
            ("top/run", tarfile.REGTYPE, {"mode": 0o4755}),
            ("top/hard", tarfile.LNKTYPE, {"linkname": "top/file", "mode": 0o640, "uid": 7, "gid": 8}),
            ("top/soft", tarfile.SYMTYPE, {"linkname": "file", "mode": 0o777}),
            ("top/pipe", tarfile.FIFOTYPE, {"mode": 0o600}),
            ("top/marked", tarfile.REGTYPE, {"mode": 0o644, "pax_headers": {"SCHILY.xattr.user.mark": "yes"}}),
            (
                "top/able",
                tarfile.REGTYPE,
                {"mode": 0o755, "pax_headers": {"SCHILY.xattr.security.capability": CAPABLE}},
            ),
            ("no/parents/here", tarfile.REGTYPE, {"mode": 0o600}),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.mtime = kind, 1_500_000_000
            for key, value in more.items():
                setattr(info, key, value)
            data = name.encode() if kind == tarfile.REGTYPE else b""
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def text_of(name: str) -> str:
    """A case without its ``syntax`` directive, for which a builder would look for an image on the network."""
    text = (CASES / f"{name}.dockerfile").read_bytes().decode()
    return re.sub(r"(?mi)\A#\s*syntax\s*=.*\n(?:#\s*syntax\s*=.*\n)*", "", text)


def flags_of(name: str, secret: Path) -> list[str]:
    """The flags of ``build`` that a case names in its last line; SECRET stands for a file."""
    found = re.search(r"^# flags: (.*)$", text_of(name), re.MULTILINE)
    return [word.replace("SECRET", str(secret)) for word in shlex.split(found[1])] if found else []


class Workshop:
    """An engine, on the store ``root``, that builds the cases, and what it is given: base, context, secret."""

    def __init__(self, engine: Engine, root: Path, directory: Path) -> None:
        self._engine = engine
        self._content = root / "content"
        self.base_archive = directory / "base-image.tar"
        self.context = make_context(directory / "context")
        self.secret = directory / "secret"
        self.secret.write_text("word")
        make_base(directory)
        made = engine.builds.build(
            directory,
            dockerfile="FROM scratch\nADD base.tar /\n",
            tag=list(IMAGES),
            output=f"type=docker,dest={self.base_archive}",
        )
        self.base = self._read(made)

    def build(self, name: str) -> Image:
        """Build a case; EngineError when it cannot be."""
        flags = flags_of(name, self.secret)
        given: dict[str, list[str]] = {}
        for flag, value in zip(flags[::2], flags[1::2], strict=True):
            given.setdefault(flag[2:].replace("-", "_"), []).append(value)
        target = given.pop("target", [None])[0]
        made = self._engine.builds.build(
            self.context,
            dockerfile=text_of(name),
            network="none",
            target=target,
            **given,  # type: ignore[arg-type]  # lists of texts
        )
        return self._read(made)

    def _read(self, made: BuiltImage) -> Image:
        assert made.build is not None
        return read_layout(self._content, str(made.build.manifest.digest))


@dataclass(frozen=True, slots=True)
class Image:
    """An image: its configuration document, and its files, each as one comparable text."""

    config: dict[str, Any]
    files: dict[str, str]

    def described(self, base: Image) -> str:
        """What it has that ``base`` has not, as text."""
        settings, before = self.config["config"], base.config["config"]
        lines = [
            f"{key}: {json.dumps(settings.get(key))}" for key in sorted(settings) if settings[key] != before.get(key)
        ]
        lines += [
            f"{'     ' if entry.get('empty_layer') else 'layer'} {entry['created_by']}"
            for entry in self.config["history"][len(base.config["history"]) :]
        ]
        lines += [f"/{name}: {text}" for name, text in self.files.items() if base.files.get(name) != text]
        lines += [f"/{name}: gone" for name in base.files if name not in self.files]
        return "\n".join([*lines, ""])


@dataclass(slots=True)
class _Tree:
    """The files of a stack of layers; hard links share one list of names."""

    entries: dict[str, tuple[str, list[str]]] = field(default_factory=dict)

    def remove(self, name: str) -> None:
        for known in [known for known in self.entries if known == name or known.startswith(f"{name}/")]:
            self.entries.pop(known)[1].remove(known)

    def add(self, name: str, text: str, shared: list[str] | None = None) -> None:
        names = shared if shared is not None else []
        names.append(name)
        self.entries[name] = (text, names)


def read_archive(path: Path) -> dict[str, Image]:
    """The images of a ``docker save`` archive by tag."""
    images = {}
    with tarfile.open(path) as tar:
        for row in json.load(_file(tar, "manifest.json")):
            config = json.load(_file(tar, row["Config"]))
            image = Image(config, flatten(_file(tar, name).read() for name in row["Layers"]))
            images.update(dict.fromkeys(row["RepoTags"] or (), image))
    return images


def read_layout(directory: Path, manifest: str) -> Image:
    """An image of an OCI image layout."""

    def blob(digest: str) -> bytes:
        return (directory / "blobs" / digest.replace(":", "/")).read_bytes()

    document = json.loads(blob(manifest))
    layers = (blob(layer["digest"]) for layer in document["layers"])
    return Image(json.loads(blob(document["config"]["digest"])), flatten(layers))


def _file(tar: tarfile.TarFile, name: str) -> io.BufferedReader:
    file = tar.extractfile(name)
    assert file is not None, name
    return file  # type: ignore[return-value]  # buffered, whatever the stubs say


def flatten(layers: Iterable[bytes]) -> dict[str, str]:
    """What layers come to: type, mode, owner, link target or content, attributes and other names of each file."""
    tree = _Tree()
    for data in layers:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            _apply(tree, tar)
    return {
        name: text + (f" linked {sorted(names)}" if len(names) > 1 else "")
        for name, (text, names) in sorted(tree.entries.items())
    }


def _apply(tree: _Tree, tar: tarfile.TarFile) -> None:
    below = set(tree.entries)
    for entry in tar:
        name = entry.name.removeprefix("./").strip("/")
        head, _slash, base = name.rpartition("/")
        if base == ".wh..wh..opq":
            for old in [old for old in below if old.startswith(f"{head}/") and old in tree.entries]:
                tree.remove(old)
        elif base.startswith(".wh."):
            tree.remove(f"{head}/{base[4:]}".lstrip("/"))
        elif entry.islnk():
            text, names = tree.entries[entry.linkname.removeprefix("./").strip("/")]
            if name not in names:
                tree.remove(name)
                tree.add(name, text, names)
        else:
            if not entry.isdir() or not tree.entries.get(name, ("",))[0].startswith("dir"):
                tree.remove(name)
            tree.add(name, _text(entry, tar))


def _text(entry: tarfile.TarInfo, tar: tarfile.TarFile) -> str:
    kind = {tarfile.SYMTYPE: "link", tarfile.DIRTYPE: "dir", tarfile.FIFOTYPE: "fifo"}.get(entry.type, "file")
    kind = {tarfile.CHRTYPE: "char", tarfile.BLKTYPE: "block"}.get(entry.type, kind)
    mode = "" if kind == "link" else f" {entry.mode & 0o7777:o}"
    marks = _marks(entry.pax_headers)
    content = ""
    if kind == "file":
        content = " " + hashlib.sha256(_file(tar, entry).read()).hexdigest()[:16]  # type: ignore[arg-type]  # either will do
    elif kind == "link":
        content = f" -> {entry.linkname}"
    elif kind in {"char", "block"}:
        content = f" {entry.devmajor}:{entry.devminor}"
    return f"{kind}{mode} {entry.uid}:{entry.gid}{content}{marks}"


def _marks(headers: Mapping[str, str]) -> str:
    marks = {key[13:]: value for key, value in headers.items() if key.startswith("SCHILY.xattr.")}
    return f" {marks}" if marks else ""
