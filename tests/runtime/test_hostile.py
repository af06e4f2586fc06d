"""A hostile program in a container gets nowhere: each test names what it tries.

The attempts of ``tests/support/hostile.py`` are made once in each kind of container; a privileged container, where
most of them get somewhere, shows that they are attempts.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from jupyter_containers.engine import Engine
from jupyter_containers.engine.launch import namespaces
from jupyter_containers.engine.views import RunResult
from jupyter_containers.errors import StartFailed
from jupyter_containers.linux.syscall_table import numbers
from jupyter_containers.runtime.spawner import Spawner
from tests.support import hostile, peers, rootfs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jupyter_containers.oci.runtime_spec import Spec
    from jupyter_containers.runtime.protocol import LaunchRequest

MACHINE = os.uname().machine
pytestmark = [
    pytest.mark.skipif(not rootfs.available(), reason="needs a static busybox"),
    pytest.mark.skipif(MACHINE not in {"x86_64", "aarch64"}, reason="no filter is made for this machine"),
]

PROGRAM = Path(hostile.__file__).read_text(encoding="utf-8")
NUMBERS = json.dumps(numbers(MACHINE))

REFUSED = {"EPERM", "EACCES", "EROFS", "ENOENT", "ENXIO"}
# What the answer must be, where being refused is not enough to say.
ANSWERS = {
    "open descriptors": {"none"},
    "foreign processes": {"none"},
    "clone3": {"ENOSYS"},
    "root of pid 1": {"its own"},
    "a disk": {"EPERM", "EACCES", "mknod: EPERM"},
    "/dev/mem": {"EPERM", "EACCES", "mknod: EPERM"},
    "/dev/kmsg by its number": {"EPERM", "EACCES", "mknod: EPERM"},
    "/dev/fuse by its number": {"EPERM", "EACCES", "mknod: EPERM"},
    "/proc/kcore": {"empty", "ENOENT", "EACCES"},
    "/proc/keys": {"empty", "ENOENT"},
    "/proc/timer_list": {"empty", "ENOENT"},
    "/proc/interrupts": {"empty", "ENOENT"},
    "/sys/firmware": {"empty", "ENOENT", "EACCES"},
    "core_pattern": {"EROFS", "EACCES"},
    "release_agent": {"none", "EROFS", "EACCES"},
    "notify_on_release": {"none", "EROFS", "EACCES"},
    "limits of its own": {"none", "EROFS", "EACCES"},
    "devices of its own": {"none", "EROFS", "EACCES"},
    "/sys/kernel": {"none", "EROFS", "EACCES"},
    "make a cgroup": {"EROFS", "EACCES", "EPERM", "ENOENT", "EACCES,EROFS", "EEXIST,EROFS"},
}
# System calls: the filter refuses them, so the error is always this one.
FILTERED = (
    "mount a file system", "mount proc again", "make /proc/sys writable", "make /sys writable", "uncover /proc/kcore",
    "fsopen", "open_tree", "move_mount", "mount_setattr", "pivot_root", "unshare of mounts", "unshare of users",
    "clone of users", "setns", "sethostname", "keyctl", "add_key", "request_key", "bpf", "perf_event_open",
    "io_uring_setup", "userfaultfd", "kexec_load", "kexec_file_load", "reboot", "init_module", "finit_module",
    "delete_module", "swapon", "swapoff", "settimeofday", "clock_settime", "syslog", "acct", "quotactl",
    "open_by_handle_at", "fanotify_init", "personality", "socket of AF_ALG", "socket of AF_VSOCK",
    *(("iopl", "ioperm") if MACHINE == "x86_64" else ()),
)  # fmt: skip
FILES = (
    "/dev/kmsg", "/proc/sysrq-trigger", "modprobe", "max_user_namespaces", "binfmt_misc",
    "oom_score_adj below its own", "uevent_helper", "/sys/power",
)  # fmt: skip
KINDS = {
    "root": {},
    "an ordinary user": {"user": "1000:1000"},
    "no new privileges": {"security_opt": "no-new-privileges"},
    "an exec": {},
    "remapped": {"userns": "remap"},
}


@pytest.fixture(scope="module")
def prison(stores: Path) -> Iterator[Engine]:
    with Engine(stores / "hostile") as engine:
        yield engine
        for row in engine.containers.list(all=True):
            engine.containers.remove(row.id, force=True)


@pytest.fixture(scope="module")
def answers(prison: Engine) -> Callable[[str], dict[str, str]]:
    """The answers of all attempts in one kind of container."""
    known: dict[str, dict[str, str]] = {}

    def of(kind: str) -> dict[str, str]:
        if kind not in known:
            known[kind] = attempt(prison, kind)
        return known[kind]

    return of


def attempt(prison: Engine, kind: str) -> dict[str, str]:
    command = ["python3", "-c", PROGRAM, NUMBERS]
    found: object
    if kind == "an exec":
        prison.containers.run("starter-python", ["sleep", "600"], detach=True, name="held")
        found = prison.containers.exec("held", command)
    else:
        if "user" in KINDS[kind] and prison.doctor().rung == "rootless-single-id":
            pytest.skip("a second user needs subordinate ids")
        if "userns" in KINDS[kind] and os.geteuid() != 0:
            pytest.skip("root alone is remapped; others are in a user namespace already")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(namespaces, "_ranges", lambda _path, _name: [(231_072, 65_536)])
            found = prison.containers.run("starter-python", command, remove=True, **KINDS[kind])  # type: ignore[arg-type]  # of the table above
    assert isinstance(found, RunResult)
    assert found.exit_code == 0, found.stderr
    return dict(json.loads(found.stdout))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FILTERED)
def test_a_system_call(answers: Callable[[str], dict[str, str]], name: str, kind: str) -> None:
    assert answers(kind)[name] == "EPERM"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [*ANSWERS, *FILES])
def test_a_file_or_a_device(answers: Callable[[str], dict[str, str]], name: str, kind: str) -> None:
    assert answers(kind)[name] in ANSWERS.get(name, REFUSED)


def test_every_attempt_is_looked_at(answers: Callable[[str], dict[str, str]]) -> None:
    assert set(answers("root")) == {*FILTERED, *ANSWERS, *FILES}


@pytest.mark.root
def test_the_attempts_get_somewhere_where_nothing_is_in_the_way(prison: Engine) -> None:
    command = ["python3", "-c", PROGRAM, NUMBERS]
    result = cast("RunResult", prison.containers.run("starter-python", command, remove=True, privileged=True))
    found = json.loads(result.stdout)
    other = {name for name in FILTERED if found[name] != "EPERM"}
    missing = {
        "mount a file system", "mount proc again", "make /sys writable", "fsopen", "open_tree", "move_mount",
        "mount_setattr", "pivot_root", "unshare of mounts", "unshare of users", "clone of users", "clone3", "setns",
        "sethostname", "keyctl", "add_key", "request_key", "bpf", "perf_event_open", "io_uring_setup",
        "settimeofday", "clock_settime", "open_by_handle_at", "personality", "socket of AF_ALG",
    } - other - {"clone3"}  # fmt: skip
    assert not missing
    assert found["clone3"] != "ENOSYS"
    assert {found[name] for name in ("core_pattern", "make a cgroup")} == {"ok"}


@pytest.mark.root
@pytest.mark.peer
@pytest.mark.slow
def test_podmans_default_container_refuses_what_ours_refuses(
    prison: Engine, stores: Path, tmp_path: Path, need_tool: Callable[[str], str]
) -> None:
    """The same attempts in a container of podman and runc: what is expected here is what others hold, too."""
    program = need_tool("podman")
    need_tool("runc")
    need_tool("conmon")
    prison.containers.run("starter-python", ["true"], remove=True)
    tree = tmp_path / "root"
    tree.mkdir()
    for layer in (stores / "hostile/layers").iterdir():
        subprocess.run(["cp", "-a", f"{layer}/diff/.", str(tree)], check=True)
    with tarfile.open(tmp_path / "root.tar", "w") as tar:
        tar.add(tree, arcname=".")
    short = stores / "pod"  # podman's paths are limited
    short.mkdir()
    with peers.podman(program, short) as ours:
        podman = peers.Peer([*ours.command[:-4], "--runtime", "runc"], ours.environment)
        podman.output("import", str(tmp_path / "root.tar"), "attempts")
        said = podman.output("run", "--network=none", "--rm", "attempts", "python3", "-c", PROGRAM, NUMBERS)
    found = json.loads(said)
    weaker = {name for name in FILTERED if found[name] not in {"EPERM", "EACCES", "ENOSYS"}}
    weaker |= {name for name in [*ANSWERS, *FILES] if found[name] not in ANSWERS.get(name, REFUSED)}
    # Its filter allows user namespaces, keys and these sockets; it masks less; its cgroups of version 1 are writable.
    assert weaker <= {
        "unshare of users", "clone of users", "clone3", "keyctl", "add_key", "request_key", "socket of AF_ALG",
        "socket of AF_VSOCK", "uncover /proc/kcore", "/proc/interrupts", "make a cgroup",
    }  # fmt: skip


# -- processes of the host -------------------------------------------------------------------------------------------


def test_a_process_of_the_host_that_can_be_seen(prison: Engine) -> None:
    """With --pid host, the processes of the host are there to be looked at, and that is all."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as victim:
        try:
            command = ["python3", "-c", PROGRAM, NUMBERS, str(victim.pid)]
            result = cast("RunResult", prison.containers.run("starter-python", command, remove=True, pid="host"))
            assert result.exit_code == 0, result.stderr
            found = json.loads(result.stdout)
            assert len(found) == 6
            assert set(found.values()) <= {"EPERM", "EACCES"}, found
        finally:
            victim.kill()


def test_the_init_of_a_container_cannot_be_looked_into(prison: Engine) -> None:
    """With --init pid 1 is a process of ours, which remembers its starter."""
    script = (
        "import os\n"
        "for name in ('environ', 'mem', 'maps'):\n"
        "    try:\n"
        "        with open(f'/proc/1/{name}', 'rb') as file: print(name, len(file.read(64)))\n"
        "    except OSError as error: print(name, error.strerror)\n"
        "print(len(os.listdir('/proc')) > 0, os.getpid() != 1)\n"
        "for name in ('exe', 'root', 'cwd'):\n"
        "    try: os.readlink(f'/proc/1/{name}'); print(name, 'seen')\n"
        "    except OSError as error: print(name, error.strerror)\n"
    )
    result = cast(
        "RunResult", prison.containers.run("starter-python", ["python3", "-c", script], remove=True, init=True)
    )
    lines = result.stdout.splitlines()
    assert "True True" in lines
    lines.remove("True True")
    assert {line.partition(" ")[2] for line in lines} <= {"Permission denied", "Operation not permitted"}, lines


KEYS = """
import ctypes, os, sys
from jupyter_containers.engine import Engine
libc = ctypes.CDLL(None, use_errno=True)
add_key, keyctl = int(sys.argv[1]), int(sys.argv[2])
search = '''
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
found = libc.syscall(%d, 10, -3, b"user", b"secret-of-the-host", 0)
print("found" if found >= 0 else errno.errorcode[ctypes.get_errno()])
''' % keyctl
assert libc.syscall(keyctl, 1, None) > 0, os.strerror(ctypes.get_errno())
assert libc.syscall(add_key, b"user", b"secret-of-the-host", b"x", 1, -3) > 0
assert libc.syscall(keyctl, 10, -3, b"user", b"secret-of-the-host", 0) > 0
with Engine(sys.argv[3]) as engine:
    for action in (
        lambda: engine.containers.run("starter-python", ["python3", "-c", search], remove=True,
                                      security_opt="seccomp=unconfined"),
        lambda: engine.containers.run("starter-python", ["sleep", "600"], detach=True, name="keys",
                                      security_opt="seccomp=unconfined")
        and engine.containers.exec("keys", ["python3", "-c", search]),
    ):
        print(action().stdout.strip())
    engine.containers.remove("keys", force=True)
"""


def test_the_keys_of_the_host_are_out_of_reach(prison: Engine, stores: Path) -> None:
    """Even without a filter: the session keyring is the container's own."""
    table = numbers(MACHINE)
    prison.images.list()
    arguments = [str(table["add_key"]), str(table["keyctl"]), str(stores / "hostile")]
    done = subprocess.run([sys.executable, "-c", KEYS, *arguments], capture_output=True, text=True, check=False)
    if "Function not implemented" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip("this kernel, or the container this runs in, has no keys")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["ENOKEY", "ENOKEY"]


# -- the interpreter of the host -------------------------------------------------------------------------------------

OVERWRITE = """
import os
own = os.open("/proc/self/exe", os.O_PATH)
os.set_inheritable(own, True)
os.execv("/bin/sh", ["sh", "-c", f"(echo overwritten > /proc/self/fd/{own}) 2>&1; echo status $?"])
"""


@pytest.mark.parametrize("way", ["init", "exec"])
def test_the_interpreter_cannot_be_overwritten_through_proc_self_exe(prison: Engine, way: str) -> None:
    """CVE-2019-5736: a container has itself started as /proc/self/exe, which is then the starter's own program."""
    interpreter = Path(os.path.realpath(sys.executable))
    before = hashlib.sha256(interpreter.read_bytes()).digest()
    command = ["/proc/self/exe", "-I", "-S", "-c", OVERWRITE]
    if way == "init":
        found: object = prison.containers.run("starter-python", command, remove=True, entrypoint="")
    else:
        prison.containers.run("starter-python", ["sleep", "600"], detach=True, name="target")
        found = prison.containers.exec("target", command)
        prison.containers.remove("target", force=True)
    assert isinstance(found, RunResult)
    assert "status 0" not in found.stdout
    assert "status" in found.stdout, "the interpreter did not even start: nothing was tried" + found.stderr
    assert hashlib.sha256(interpreter.read_bytes()).digest() == before
    again = prison.containers.run("starter", ["true"], remove=True)
    assert isinstance(again, RunResult)
    assert again.exit_code == 0, "the spawner's copy is what it was"


# -- links in an image -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spawner() -> Iterator[Spawner]:
    with Spawner() as started:
        yield started


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return rootfs.make(tmp_path / "root")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory of the host that images point at."""
    directory = tmp_path / "outside"
    directory.mkdir()
    (directory / "file").write_text("of the host")
    return directory


def start(spawner: Spawner, spec: Spec, tmp_path: Path, **more: object) -> str:
    request: LaunchRequest = {"id": "test", "spec": spec, "run_dir": str(tmp_path / "run"), **more}  # type: ignore[typeddict-item]  # what a test adds
    read, write = os.pipe()
    try:
        with spawner.launch(request, None, write, write) as process:
            os.close(write)
            write = -1
            data = b""
            while chunk := os.read(read, 65536):
                data += chunk
            assert process.wait(20) is not None
            return data.decode()
    finally:
        os.close(read)
        if write >= 0:
            os.close(write)


def unchanged(outside: Path) -> bool:
    return [entry.name for entry in outside.iterdir()] == ["file"] and (outside / "file").read_text() == "of the host"


@pytest.mark.parametrize("up", ["", "/../../../../../.."])
def test_a_mount_on_a_link_out_of_the_image_stays_in_it(
    spawner: Spawner, root: Path, tmp_path: Path, outside: Path, up: str
) -> None:
    (root / "data").symlink_to(f"{up}{outside}")
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("of the volume")
    spec = rootfs.spec(root, "sh", "-c", "cat /data/file; echo x > /data/new")
    spec["mounts"].append({"destination": "/data", "type": "none", "source": str(source), "options": ["rbind"]})
    assert start(spawner, spec, tmp_path) == "of the volume"
    assert unchanged(outside)
    assert (source / "new").exists()


def test_a_mount_below_a_link_out_of_the_image_makes_nothing_outside(
    spawner: Spawner, root: Path, tmp_path: Path, outside: Path
) -> None:
    (root / "etc" / "conf").symlink_to(outside)
    spec = rootfs.spec(root, "ls", "/etc/conf")
    spec["mounts"].append({"destination": "/etc/conf/made/here", "type": "tmpfs", "source": "tmpfs", "options": []})
    assert start(spawner, spec, tmp_path).split() == ["made"]
    assert unchanged(outside)


def test_the_engines_files_are_not_written_through_a_link(
    spawner: Spawner, root: Path, tmp_path: Path, outside: Path
) -> None:
    for path in (root / "etc").iterdir():
        path.unlink()
    (root / "etc").rmdir()
    (root / "etc").symlink_to(outside)
    source = tmp_path / "hosts"
    source.write_text("the hosts")
    spec = rootfs.spec(root, "cat", "/etc/hosts")
    spec["mounts"].append({"destination": "/etc/hosts", "type": "none", "source": str(source), "options": ["bind"]})
    assert start(spawner, spec, tmp_path) == "the hosts"
    assert unchanged(outside)


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_the_kernels_files_are_not_mounted_behind_a_link(
    spawner: Spawner, root: Path, tmp_path: Path, outside: Path, name: str
) -> None:
    (root / name).symlink_to(outside)
    with pytest.raises(StartFailed, match=f"mount on /{name}: a symbolic link of the image leads to"):
        start(spawner, rootfs.spec(root, "true"), tmp_path)
    assert unchanged(outside)


def test_a_file_in_the_place_of_proc_is_refused(spawner: Spawner, root: Path, tmp_path: Path) -> None:
    (root / "proc").write_text("")
    with pytest.raises(StartFailed):
        start(spawner, rootfs.spec(root, "true"), tmp_path)


def test_a_parameter_is_never_written_to_a_file_of_the_image(spawner: Spawner, root: Path, tmp_path: Path) -> None:
    """Without procfs in its place /proc/sys is whatever the image has there."""
    file = root / "proc/sys/net/ipv4/ip_forward"
    file.parent.mkdir(parents=True)
    file.write_text("of the image")
    spec = rootfs.spec(root, "true")
    spec["mounts"] = [mount for mount in spec["mounts"] if mount["destination"] != "/proc"]
    spec["linux"] |= {"sysctl": {"net.ipv4.ip_forward": "1"}, "maskedPaths": [], "readonlyPaths": []}
    with pytest.raises(StartFailed, match="is not the kernel's"):
        start(spawner, spec, tmp_path)
    assert file.read_text() == "of the image"


def test_a_working_directory_and_a_user_file_behind_links_stay_in_the_image(
    spawner: Spawner, root: Path, tmp_path: Path, outside: Path
) -> None:
    (root / "job").symlink_to(outside)
    (root / "etc/passwd").unlink()
    (root / "etc/passwd").symlink_to(f"{outside}/file")
    (outside / "file").write_text("evil:x:0:0::/:/bin/sh\n")
    (root / outside.relative_to("/")).mkdir(parents=True)
    spec = rootfs.spec(root, "pwd", cwd="/job/below")
    assert start(spawner, spec, tmp_path).strip() == f"{outside}/below"
    assert list(outside.iterdir()) == [outside / "file"], "made in the image, not outside"
    with pytest.raises(StartFailed, match="unable to find user evil"):
        start(spawner, spec, tmp_path, user="evil")


def test_a_descriptor_of_the_caller_is_not_inherited(spawner: Spawner, root: Path, tmp_path: Path) -> None:
    with open(tmp_path / "open", "w", encoding="utf-8") as file:
        os.set_inheritable(file.fileno(), True)
        out = start(spawner, rootfs.spec(root, "ls", "-l", "/proc/self/fd"), tmp_path)
    numbers_seen = [line.split(" -> ")[0].split()[-1] for line in out.splitlines() if " -> " in line]
    assert {"0", "1", "2"} <= set(numbers_seen) <= {"0", "1", "2", "3"}, "3 is the directory that is listed"
    assert str(tmp_path) not in out


def test_a_signal_from_the_container_reaches_nobody_else(prison: Engine) -> None:
    """kill(-1) is sent to all processes that can be seen: those of the container."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as bystander:
        try:
            script = "import os, signal; os.kill(-1, signal.SIGKILL) if os.getpid() != 1 else print('pid 1')"
            prison.containers.run("starter-python", ["python3", "-c", script], remove=True, init=True)
            assert bystander.poll() is None
        finally:
            bystander.send_signal(signal.SIGKILL)
