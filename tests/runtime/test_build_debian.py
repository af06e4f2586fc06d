"""Builds that fetch: a real base, Debian as debootstrap makes it, with packages from this machine's mirror; pip.

The base is made once, by root, and kept beside what else the tests keep; ordinary users take it from there.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from bench import debian
from bench.peers import NotHere
from jupyter_containers.engine import Engine, Image, RunOptions, RunResult
from jupyter_containers.errors import StepFailed
from tools.second import BASE, PREFIX

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

KEPT = BASE / f"{PREFIX}debian"
UNREACHABLE = re.compile(
    "Temporary failure resolving|[Cc]ould not (?:resolve|connect)|[Uu]nable to connect|Failed to establish|timed out"
)

INSTALL = """FROM debian-base
RUN apt-get update -qq
RUN apt-get install -qq --no-install-recommends hello && hello > /said
RUN useradd --create-home --uid 1234 worker && groupadd --system team && usermod -aG team worker && id worker > /id
RUN install -o worker -g team -m 2750 -d /srv/shared && su worker -c true
"""
AS_WORKER = """FROM {}
USER worker
RUN id -un > ~/who && touch ~/mine && test -O ~/mine
"""


@pytest.fixture(scope="module")
def kept() -> Path:
    if os.geteuid() == 0 and not (KEPT / "debian.tar").exists():
        KEPT.mkdir(mode=0o755, exist_ok=True)
        try:
            debian.archive(KEPT).chmod(0o644)
        except NotHere as error:
            pytest.skip(str(error))
    if not (KEPT / "debian.tar").exists() or KEPT.is_symlink() or KEPT.stat().st_uid != 0:
        pytest.skip("needs a Debian base, which the tests make as root")
    if os.geteuid() == 0:
        os.utime(KEPT)
    return KEPT


def build(engine: Engine, text: str, context: Path | None = None, **options: object) -> Image:
    try:
        return engine.builds.build(context, dockerfile=text, **options)  # type: ignore[arg-type]  # a test's own
    except StepFailed as error:
        if UNREACHABLE.search(error.log_tail):
            pytest.skip("no mirror of Debian can be reached from here")
        raise


def output(engine: Engine, image: Image, command: str) -> str:
    options = RunOptions(remove=True, network="none")
    result = engine.containers.run(str(image.id), ["sh", "-c", command], options=options)
    assert isinstance(result, RunResult)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_packages_are_installed_and_users_added(engine: Engine, kept: Path) -> None:
    build(engine, "FROM scratch\nADD debian.tar /\n", kept, tag="debian-base")
    image = build(engine, INSTALL, tag="installed")
    said, ids = output(engine, image, "cat /said /id").splitlines()
    assert said == "Hello, world!"
    assert re.fullmatch(r"uid=1234\(worker\) gid=1234\(worker\) groups=1234\(worker\),[0-9]+\(team\)", ids)
    owner = output(engine, image, "stat -c '%U:%G %a' /srv/shared")
    if engine.doctor().rung == "rootless-single-id":
        assert owner == "root:root 2750\n"
        return
    assert owner == "worker:team 2750\n"
    assert output(engine, build(engine, AS_WORKER.format("installed")), "cat ~worker/who") == "worker\n"


PIP = """FROM starter-python
ARG PIP_INDEX_URL PIP_DEFAULT_TIMEOUT=20
RUN --mount=type=secret,id=authorities,target=/authorities.pem --mount=from=pip,target=/lib/pip \\
    PYTHONPATH=/lib/pip PIP_CERT=/authorities.pem python3 -m pip install -q --no-cache-dir --target /packages six
"""


def test_pip_installs(engine: Engine, tmp_path: Path) -> None:
    found = importlib.util.find_spec("pip")
    authorities = os.environ.get("PIP_CERT") or ssl.get_default_verify_paths().cafile
    if found is None or found.origin is None or authorities is None:
        pytest.skip("needs pip here, and this machine's certificates")
    shutil.copytree(os.path.dirname(found.origin), tmp_path / "pip" / "pip")
    given = {name: os.environ[name] for name in ("PIP_INDEX_URL",) if name in os.environ}
    options: dict[str, Any] = {
        "build_context": {"pip": str(tmp_path / "pip")},
        "secret": [f"id=authorities,src={authorities}"],
    }
    image = build(engine, PIP, build_arg=given, **options)
    assert "six.py" in output(engine, image, "ls /packages")
