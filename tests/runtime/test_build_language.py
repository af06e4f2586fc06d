"""The flags of RUN, COPY and ADD, and where contexts come from, by real builds."""

from __future__ import annotations

import http.server
import io
import os
import shutil
import socket
import subprocess
import tarfile
import threading
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.engine import Engine, Image, RunOptions, RunResult
from jupyter_containers.errors import DockerfileError, ImageNotFound, InvalidInput, StepFailed, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jupyter_containers.events import Event


def build(engine: Engine, text: str, context: Path | None = None, **options: object) -> Image:
    return engine.builds.build(context, dockerfile=text, network="none", **options)  # type: ignore[arg-type]  # a test's own


def reasons(image: Image) -> dict[str, str]:
    assert image.build is not None
    return {step.text: "CACHED" if step.cached else step.verdict.reason for step in image.build.steps}


def output(engine: Engine, image: Image, command: str) -> str:
    options = RunOptions(remove=True, network="none")
    result = engine.containers.run(str(image.id), ["sh", "-c", command], options=options)
    assert isinstance(result, RunResult)
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    (folder / "src" / "deep").mkdir(parents=True)
    (folder / "src" / "a.py").write_text("a")
    (folder / "src" / "deep" / "b.py").write_text("b")
    (folder / "src" / "deep" / "notes.md").write_text("n")
    (folder / "go.mod").write_text("mod")
    return folder


BINDS = """FROM starter
RUN --mount=type=bind,target=/in cat /in/go.mod > /out; ! touch /in/x 2>/dev/null
RUN --mount=type=bind,source=src,target=/in,rw echo more > /in/new; ls /in >> /out
RUN --mount=type=bind,source=go.mod,target=/etc/go.mod cat /etc/go.mod >> /out
"""


def test_bind_mounts_of_the_context_are_read_only_or_forgotten(engine: Engine, context: Path) -> None:
    image = build(engine, BINDS, context)
    assert output(engine, image, "cat /out; ls -d /in /etc/go.mod 2>/dev/null || true") == "moda.py\ndeep\nnew\nmod"
    assert not (context / "src" / "new").exists()
    assert set(reasons(build(engine, BINDS, context)).values()) == {"CACHED"}
    (context / "src" / "deep" / "b.py").write_text("changed")
    again = list(reasons(build(engine, BINDS, context)).values())
    assert again[1].startswith("file changed: /in: src/deep/b.py")
    assert again[2].startswith("file changed: /in: src/deep/b.py")


def test_bind_mounts_of_stages_and_images(engine: Engine) -> None:
    image = build(
        engine,
        """FROM starter AS made
RUN mkdir -p /d/e; echo made > /d/e/f
FROM starter
RUN --mount=from=made,target=/whole cat /whole/d/e/f > /out; ls -d /whole/bin >> /out
RUN --mount=from=made,source=/d/e,target=/part cat /part/f >> /out; ! touch /part/x 2>/dev/null
RUN --mount=from=made,source=/d/e/f,target=/file,rw echo over > /file; cat /file >> /out
RUN --mount=from=made,target=/whole,rw rm -r /whole/d; touch /whole/new
RUN --mount=from=made,target=/whole test -e /whole/d
""",
    )
    assert output(engine, image, "cat /out") == "made\n/whole/bin\nmade\nover\n"


CACHE = """FROM starter
ARG N
RUN --mount=type=cache,target=/cache,mode=0750 echo $N >> /cache/log; cat /cache/log > /out
"""


def test_a_cache_is_kept_and_enters_no_layer(engine: Engine) -> None:
    build(engine, CACHE, build_arg={"N": "1"})
    image = build(engine, CACHE, build_arg={"N": "2"})
    assert output(engine, image, "cat /out; ls -A /cache 2>/dev/null || true") == "1\n2\n"
    (mount,) = engine.builds.cache_mounts()
    assert (mount.id, mount.bytes, mount.busy) == ("/cache", 4, False)
    other = build(engine, CACHE, build_arg={"N": "3", "BUILDKIT_CACHE_MOUNT_NS": "x"})
    assert output(engine, other, "cat /out") == "3\n"
    build(engine, CACHE.replace("target=/cache", "id=kept,target=/cache"), build_arg={"N": "4"})
    assert {mount.id for mount in engine.builds.cache_mounts()} == {"/cache", "x//cache", "kept"}


def test_a_cache_begins_with_files_of_a_stage(engine: Engine) -> None:
    image = build(
        engine,
        """FROM scratch AS first
COPY <<END /seed/f
seed
END
FROM starter
RUN --mount=type=cache,from=first,source=seed,target=/c,sharing=locked cat /c/f > /out; echo x >> /c/f
RUN --mount=type=cache,from=first,source=seed,target=/c,sharing=private cat /c/f >> /out
""",
    )
    assert output(engine, image, "cat /out") == "seed\nseed\nx\n"


def test_tmpfs_is_empty_and_limited(engine: Engine) -> None:
    image = build(
        engine,
        """FROM starter
RUN mkdir /t; touch /t/below
RUN --mount=type=tmpfs,target=/t,size=1m ls -A /t > /out; ! head -c 2000000 /dev/zero > /t/x 2>/dev/null
""",
    )
    assert output(engine, image, "cat /out; ls /t") == "below\n"


SECRETS = """FROM starter
RUN --mount=type=secret,id=key --mount=type=secret,id=key,env=KEY --mount=type=secret,id=none \
    test "$(cat /run/secrets/key)" = "$KEY" && echo ${#KEY} > /out && \
    ls -l /run/secrets/key >> /out && ls /run/secrets >> /out
RUN --mount=type=secret,id=key,target=/k,mode=0444 test -s /k && test ! -e /run/secrets/key
"""


def test_secrets_are_files_or_variables_and_leave_no_trace(engine: Engine, store_root: Path) -> None:
    events: list[Event] = []
    word = "correct-horse-battery"
    image = build(engine, SECRETS, secret={"key": word}, sink=events.append)
    size, attributes, names = output(engine, image, "cat /out").splitlines()
    assert (size, attributes[:10], names) == (str(len(word)), "-r--------", "key")
    assert word not in repr(image.build) + str(events)
    for directory, _names, files in os.walk(store_root):
        for path in (os.path.join(directory, name) for name in files):
            if os.path.isfile(path) and os.access(path, os.R_OK):
                with open(path, "rb") as file:
                    assert word.encode() not in file.read(), path


def test_another_secret_is_no_reason_to_build_again(engine: Engine) -> None:
    text = "FROM starter\nRUN --mount=type=secret,id=key true\n"
    build(engine, text, secret={"key": "a"})
    assert set(reasons(build(engine, text, secret={"key": "b"})).values()) == {"CACHED"}
    with pytest.raises(DockerfileError, match="2: the secret key was not given"):
        build(engine, text.replace("id=key", "id=key,required"))


def test_an_agent_can_be_talked_to(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "agent"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        image = build(
            engine,
            """FROM starter
RUN --mount=type=ssh,required test -S "$SSH_AUTH_SOCK" && echo $SSH_AUTH_SOCK > /out
RUN --mount=type=ssh --mount=type=ssh,id=other,mode=0666 \\
    ls /run/buildkit >> /out; test $SSH_AUTH_SOCK = /run/buildkit/ssh_agent.0
RUN test -z "$SSH_AUTH_SOCK"
""",
            ssh=[f"default={path}", f"other={path}"],
        )
    assert output(engine, image, "cat /out") == "/run/buildkit/ssh_agent.0\nssh_agent.0\nssh_agent.1\n"
    with pytest.raises(DockerfileError, match="no SSH agent default"):
        build(engine, "FROM starter\nRUN --mount=type=ssh,required true")


def test_security_and_network_of_a_step(engine: Engine) -> None:
    with pytest.raises(DockerfileError, match="2: RUN --security=insecure is not allowed") as caught:
        build(engine, "FROM starter\nRUN --security=insecure true")
    assert caught.value.hint == "allow it with --allow security.insecure"
    image = engine.builds.build(
        dockerfile="""FROM starter
RUN --security=insecure grep CapEff /proc/self/status > /insecure
RUN grep CapEff /proc/self/status > /sandbox
RUN --network=none ls /sys/class/net > /none
""",
        allow=["security.insecure"],
    )
    insecure, sandbox, *links = output(engine, image, "cat /insecure /sandbox /none").splitlines()
    assert int(insecure.split()[1], 16) > int(sandbox.split()[1], 16)
    assert links == ["lo"]


def test_parents_exclude_and_modes(engine: Engine, context: Path) -> None:
    image = build(
        engine,
        """FROM starter
COPY --parents src/deep/b.py ./src/./deep/*.md /p/
COPY --parents --exclude=**/*.md src /q/
COPY --exclude=*.mod --exclude=deep/*.md . src /r/
COPY --chmod=u=rwX,go= src /s/
COPY --chmod=+x go.mod /x
""",
        context,
    )
    found = output(engine, image, "cd /; find p q r | sort")
    assert found.split() == [
        *("p", "p/deep", "p/deep/notes.md", "p/src", "p/src/deep", "p/src/deep/b.py"),
        *("q", "q/src", "q/src/a.py", "q/src/deep", "q/src/deep/b.py"),
        *("r", "r/a.py", "r/deep", "r/deep/b.py", "r/src", "r/src/a.py", "r/src/deep", "r/src/deep/b.py"),
        "r/src/deep/notes.md",
    ]
    modes = output(engine, image, "ls -l / /s | grep -e ' a.py' -e ' deep' -e ' x$' | cut -c1-10")
    assert modes.split() == ["-rwxr-xr-x", "-rw-------", "drwx------"]


def test_a_linked_copy_is_the_same_layer_on_any_base(engine: Engine, context: Path) -> None:
    text = "FROM starter\nRUN echo {} > /x\nCOPY --link --chown=0 src /linked/\n"
    first = build(engine, text.format("one"), context)
    second = build(engine, text.format("two"), context)
    assert reasons(second)["COPY --link --chown=0 src /linked/"] == "CACHED"
    assert first.build is not None
    assert second.build is not None
    assert first.build.layers[-1] == second.build.layers[-1]
    assert output(engine, second, "cat /linked/a.py") == "a"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    folder = tmp_path / "www"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]  # passed on

        def log_message(self, *_arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listener.server_port}", folder
        listener.shutdown()
        thread.join()


def archive(**files: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def test_add_fetches_files(engine: Engine, server: tuple[str, Path]) -> None:
    url, folder = server
    (folder / "x.tgz").write_bytes(archive(inside="tar"))
    (folder / "file").write_text("one")
    digest = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    text = f"""FROM starter
ADD --checksum=sha256:{digest} {url}/file /d/
ADD {url}/x.tgz /d/
ADD --unpack {url}/x.tgz /u/
"""
    image = build(engine, text)
    listing = output(engine, image, "cat /d/file /u/inside; ls -l /d/file | cut -c1-10; ls /d")
    assert listing == "onetar-rw-------\nfile\nx.tgz\n"
    assert set(reasons(build(engine, text)).values()) == {"CACHED"}
    (folder / "file").write_text("two")
    with pytest.raises(DockerfileError, match=r"2: .* is not what --checksum says"):
        build(engine, text)
    with pytest.raises(DockerfileError, match=r"2: cannot fetch .*: the server says 404"):
        build(engine, f"FROM starter\nADD {url}/nothing /\n")


def test_local_archives_are_extracted_unless_told_otherwise(engine: Engine, context: Path) -> None:
    (context / "x.tar.gz").write_bytes(archive(inside="tar"))
    image = build(engine, "FROM starter\nADD x.tar.gz /a/\nADD --unpack=false x.tar.gz /b/\n", context)
    assert output(engine, image, "ls /a /b") == "/a:\ninside\n\n/b:\nx.tar.gz\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    folder = tmp_path / "work"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "f").write_text("committed")
    (folder / "sub" / "Dockerfile").write_text("FROM starter\nCOPY f /f\n")
    environment = {**os.environ, "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}
    for line in ("init -q -b main", "add .", "-c user.name=n -c user.email=e commit -q -m first", "tag v1"):
        subprocess.run(["git", *line.split()], cwd=folder, env=environment, check=True)
    return folder


def test_git_repositories(engine: Engine, repository: Path, server: tuple[str, Path]) -> None:
    url, folder = server
    subprocess.run(["git", "clone", "-q", "--bare", str(repository), str(folder / "r.git")], check=True)
    subprocess.run(["git", "update-server-info"], cwd=folder / "r.git", check=True)
    image = build(engine, f"FROM starter\nADD {url}/r.git#v1:sub /g/\nADD --keep-git-dir {url}/r.git /k/\n")
    assert output(engine, image, "ls -A /g; ls -A /k; cat /g/f") == "Dockerfile\nf\n.git\nsub\ncommitted"
    with pytest.raises(DockerfileError, match="is the commit"):
        build(engine, f"FROM starter\nADD --checksum=123 {url}/r.git /g/\n")
    from_git = engine.builds.build(f"{url}/r.git#main:sub")
    assert output(engine, from_git, "cat /f") == "committed"


def test_contexts_other_than_folders(engine: Engine, server: tuple[str, Path]) -> None:
    url, folder = server
    data = archive(Dockerfile="FROM starter\nCOPY f /f\n", f="archived")
    (folder / "c.tgz").write_bytes(data)
    assert output(engine, engine.builds.build(io.BytesIO(data)), "cat /f") == "archived"
    assert output(engine, engine.builds.build(f"{url}/c.tgz"), "cat /f") == "archived"
    assert output(engine, engine.builds.build(io.BytesIO(b"FROM starter\nRUN echo x > /f\n")), "cat /f") == "x\n"


def test_named_contexts(engine: Engine, context: Path) -> None:
    image = build(
        engine,
        "FROM base\nCOPY --from=more a.py /\nRUN --mount=from=more,target=/m cat /m/deep/b.py > /b\n",
        build_context={"base": "docker-image://starter", "more": str(context / "src")},
    )
    assert output(engine, image, "cat /a.py /b") == "ab"
    with pytest.raises(DockerfileError, match="1: FROM more: the named context more is a directory"):
        build(engine, "FROM more\n", build_context={"more": str(context)})


def test_named_contexts_that_are_layouts_and_stages(engine: Engine, tmp_path: Path, store_root: Path) -> None:
    layout = tmp_path / "layout"
    digests = []
    for tag in ("one", "two"):
        made = build(engine, f"FROM starter\nRUN echo {tag} > /tag\n", tag=f"made:{tag}")
        digests.append(made.digest)
    shutil.copytree(store_root / "content", layout)
    for name in ("made:one", "made:two"):
        engine.images.remove(name)
    engine.builds.prune()
    text = "FROM base\nCOPY --from=other /tag /other\nRUN --mount=from=other,target=/m cat /m/tag > /mounted\n"
    image = build(
        engine,
        text,
        build_context={"base": f"oci-layout://{layout}:two", "other": f"oci-layout://{layout}@{digests[0]}"},
    )
    assert output(engine, image, "cat /tag /other /mounted") == "two\none\none\n"
    for wrong in (str(layout), f"{layout}:three"):
        with pytest.raises(ImageNotFound):
            build(engine, text, build_context={"base": f"oci-layout://{wrong}"})
    stages = "FROM starter AS real\nRUN echo real > /tag\n" + text
    image = build(engine, stages, build_context={"base": "target:real", "other": "target:REAL"})
    assert output(engine, image, "cat /tag /other /mounted") == "real\n" * 3
    with pytest.raises(UsageError, match="none of that name"):
        build(engine, stages, build_context={"base": "target:unreal"})


def test_the_ignore_file_beside_the_dockerfile_wins(engine: Engine, context: Path, tmp_path: Path) -> None:
    (context / ".dockerignore").write_text("src\n")
    file = tmp_path / "Dockerfile.other"
    file.write_text("FROM starter\nCOPY . /c/\n")
    (tmp_path / "Dockerfile.other.dockerignore").write_text("go.mod\n.dockerignore\n")
    assert output(engine, engine.builds.build(context, file=file), "ls -A /c") == "src\n"


def test_a_file_that_asks_for_checks_is_refused_by_them(engine: Engine) -> None:
    text = "# check=error=true\nFROM starter AS Base\nCMD run\n"
    for way in (engine.builds.build, engine.builds.check):
        with pytest.raises(DockerfileError, match=r"2: StageNameCasing.*and line 3: JSONArgsRecommended"):
            way(dockerfile=text)
    build(engine, text, build_arg={"BUILDKIT_DOCKERFILE_CHECK": "skip=all"})


def test_options_are_refused_before_anything_is_built(engine: Engine) -> None:
    for option in ({"shm_size": "x"}, {"ulimit": ["nofile=x"]}, {"label": ["=x"]}, {"build_arg": ["=x"]}):
        with pytest.raises((InvalidInput, UsageError)):
            build(engine, "FROM starter\n", **option)
    assert engine.builds.history() == []


def test_a_step_may_change_ids_and_owners_whoever_builds(engine: Engine) -> None:
    program = "import os; os.mkdir('/made'); os.chown('/made', 5, 6); os.setgroups([7]); os.setgid(6); os.setuid(5)"
    image = build(engine, f'FROM starter-python\nRUN ["python3", "-c", "{program}"]\n')
    show = "import os; found = os.stat('/made'); print(found.st_uid, found.st_gid)"
    result = engine.containers.run(str(image.id), ["python3", "-c", show], remove=True, network="none")
    assert isinstance(result, RunResult)
    one = engine.doctor().rung == "rootless-single-id"
    assert result.stdout == ("0 0\n" if one else "5 6\n"), result.stderr


def test_stages_that_are_not_needed_are_not_built(engine: Engine) -> None:
    with pytest.raises(StepFailed):
        build(engine, "FROM starter AS a\nRUN false\nFROM starter\nCOPY --from=a / /x\n")
    text = "FROM starter AS a\nRUN false\nFROM starter AS b\nRUN true\n"
    assert len(reasons(build(engine, text))) == 2
    assert reasons(build(engine, text, no_cache_filter=["b"]))["RUN true"] == "the cache is not used"
