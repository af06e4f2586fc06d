"""Real containers from a busybox root file system: start, output, exit, errors, isolation."""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from jupyter_containers.errors import CommandNotExecutable, CommandNotFound, StartFailed
from jupyter_containers.linux import syscalls
from jupyter_containers.runtime.spawner import Spawner
from tests.support import rootfs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jupyter_containers.oci.runtime_spec import Spec
    from jupyter_containers.runtime.protocol import ExitStatus, LaunchRequest

pytestmark = pytest.mark.skipif(not rootfs.available(), reason="needs a static busybox")


@pytest.fixture(scope="module")
def spawner() -> Iterator[Spawner]:
    with Spawner() as started:
        yield started


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return rootfs.make(tmp_path / "root")


def request_for(spec: Spec, tmp_path: Path, **more: object) -> LaunchRequest:
    (tmp_path / "run").mkdir(exist_ok=True)
    return {"id": "test", "spec": spec, "run_dir": str(tmp_path / "run"), **more}  # type: ignore[typeddict-item]


class Ran:
    def __init__(self, status: ExitStatus, stdout: str, stderr: str, stubs: list[str]) -> None:
        self.status = status
        self.stdout = stdout
        self.stderr = stderr
        self.stubs = stubs


def run(spawner: Spawner, request: LaunchRequest, stdin: bytes | None = None) -> Ran:
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    in_read = -1
    if stdin is not None:
        in_read, in_write = os.pipe()
        os.write(in_write, stdin)
        os.close(in_write)
    try:
        with spawner.launch(request, in_read, out_write, err_write) as process:
            os.close(out_write)
            os.close(err_write)
            out_write = err_write = -1
            stdout, stderr = read_all(out_read), read_all(err_read)
            status = process.wait(20)
            assert status is not None
            return Ran(status, stdout, stderr, process.created_mountpoints)
    finally:
        for descriptor in (out_read, out_write, err_read, err_write, in_read):
            if descriptor >= 0:
                os.close(descriptor)


def read_all(descriptor: int) -> str:
    data = b""
    while chunk := os.read(descriptor, 65536):
        data += chunk
    return data.decode()


def test_output_and_exit_status_come_back(spawner: Spawner, root: Path, tmp_path: Path) -> None:
    spec = rootfs.spec(root, "sh", "-c", "echo out; echo err >&2; exit 7")
    ran = run(spawner, request_for(spec, tmp_path))
    assert (ran.stdout, ran.stderr) == ("out\n", "err\n")
    assert (ran.status["code"], ran.status["signal"]) == (7, 0)
    assert ran.status["finished_at"] > ran.status["started_at"] > 0


def test_a_signal_shows_in_the_status(spawner: Spawner, root: Path, tmp_path: Path) -> None:
    with spawner.launch(request_for(rootfs.spec(root, "sleep", "60"), tmp_path)) as process:
        assert process.poll() is None
        process.signal(signal.SIGKILL)
        status = process.wait(10)
    assert status is not None
    assert (status["code"], status["signal"]) == (137, 9)


@pytest.mark.parametrize("direct", [False, True])
def test_standard_input_ends(spawner: Spawner, root: Path, tmp_path: Path, *, direct: bool) -> None:
    request = request_for(rootfs.spec(root, "cat"), tmp_path, direct=direct)
    assert run(spawner, request, b"through").stdout == "through"
    assert run(spawner, request_for(rootfs.spec(root, "cat"), tmp_path)).stdout == ""


def test_much_output_arrives_whole(spawner: Spawner, root: Path, tmp_path: Path) -> None:
    script = "dd if=/dev/zero bs=65536 count=160 2>/dev/null | tr '\\0' x"
    ran = run(spawner, request_for(rootfs.spec(root, "sh", "-c", script), tmp_path))
    assert len(ran.stdout) == 160 * 65536


@pytest.mark.parametrize(
    ("command", "error", "text"),
    [
        ("nosuch", CommandNotFound, 'exec: "nosuch": executable file not found in $PATH'),
        ("/no/such", CommandNotFound, 'exec: "/no/such": stat /no/such: no such file or directory'),
        ("/etc/passwd", CommandNotExecutable, 'exec: "/etc/passwd": permission denied'),
        ("/bin", CommandNotExecutable, 'exec: "/bin": is a directory'),
        ("/empty", CommandNotExecutable, 'exec: "/empty": exec format error'),
        ("/script", CommandNotFound, "its interpreter or loader is missing"),
    ],
)
def test_a_program_that_cannot_run_says_why(
    spawner: Spawner, root: Path, tmp_path: Path, command: str, error: type[StartFailed], text: str
) -> None:
    for name, content in (("empty", ""), ("script", "#!/no/interpreter\n")):
        (root / name).write_text(content)
        (root / name).chmod(0o755)
    with pytest.raises(error) as caught:
        run(spawner, request_for(rootfs.spec(root, command), tmp_path))
    assert type(caught.value) is error
    assert text in str(caught.value)
    assert os.listdir(tmp_path / "run") == []


def test_failures_name_their_step(spawner: Spawner, root: Path, tmp_path: Path) -> None:
    spec = rootfs.spec(root, "true")
    spec["mounts"].append({"destination": "/data", "type": "bind", "source": "/no/such", "options": ["bind"]})
    with pytest.raises(StartFailed, match="bind source path does not exist: /no/such") as caught:
        run(spawner, request_for(spec, tmp_path))
    assert caught.value.step == "mounts"
    with pytest.raises(StartFailed, match="unable to find user nobody-here"):
        run(spawner, request_for(rootfs.spec(root, "true"), tmp_path, user="nobody-here"))
    with pytest.raises(StartFailed, match="no command is given"):
        run(spawner, request_for(rootfs.spec(root), tmp_path))


def test_the_container_sees_only_itself(spawner: Spawner, root: Path, tmp_path: Path) -> None:
    script = "hostname; echo $$; ls /; ls /proc | grep -c '^[0-9]'; ip -o link | wc -l; ls /proc/self/fd | wc -l"
    lines = run(spawner, request_for(rootfs.spec(root, "sh", "-c", script), tmp_path)).stdout.splitlines()
    assert lines[0] == "box"
    assert lines[1] == "1"
    assert lines[2:-3] == sorted(["bin", "dev", "etc", "home", "proc", "root", "sys", "tmp"])
    assert int(lines[-3]) <= 4
    assert lines[-2] == "1"
    assert lines[-1] == "4"  # 0, 1, 2 and the directory itself


def test_protections_hold(spawner: Spawner, root: Path, tmp_path: Path) -> None:
    script = """
    echo 1 > /proc/sys/kernel/pid_max && echo wrote
    cat /proc/keys | wc -c
    ls /proc/acpi /sys/firmware 2>&1 | grep -v :
    mount -t tmpfs x /tmp 2>&1 && echo mounted
    grep -E 'NoNewPrivs|CapEff' /proc/self/status
    """
    spec = rootfs.spec(root, "sh", "-c", script)
    spec["process"]["noNewPrivileges"] = True
    ran = run(spawner, request_for(spec, tmp_path))
    assert "wrote" not in ran.stdout
    assert "mounted" not in ran.stdout
    assert "NoNewPrivs:\t1" in ran.stdout
    assert "CapEff:\t00000000080404fb" in ran.stdout
    assert ran.stdout.split()[0] == "0"


def test_a_readonly_root_takes_no_file_but_its_mounts_do(spawner: Spawner, root: Path, tmp_path: Path) -> None:
    spec = rootfs.spec(root, "sh", "-c", "touch /x 2>/dev/null || echo denied; touch /dev/shm/x && echo ok")
    spec["root"]["readonly"] = True
    assert run(spawner, request_for(spec, tmp_path)).stdout == "denied\nok\n"


def test_stubs_are_reported_once(spawner: Spawner, root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    spec = rootfs.spec(root, "cat", "/made/for/file")
    spec["mounts"].append(
        {"destination": "/made/for/file", "type": "bind", "source": str(tmp_path / "file"), "options": ["bind", "ro"]}
    )
    ran = run(spawner, request_for(spec, tmp_path))
    assert ran.stdout == "content"
    assert ran.stubs == ["/proc", "/dev", "/sys", "/made", "/made/for", "/made/for/file"]
    assert run(spawner, request_for(spec, tmp_path)).stubs == []


@pytest.mark.parametrize("link", ["/tmp/../../../outside", "../../../../outside"])
def test_a_link_in_the_image_does_not_lead_out(spawner: Spawner, root: Path, tmp_path: Path, link: str) -> None:
    (tmp_path / "outside").mkdir()
    (root / "escape").symlink_to(link)
    (root / "host").symlink_to(tmp_path)
    spec = rootfs.spec(root, "true")
    for destination in ("/escape/a", "/host/outside/b"):
        spec["mounts"].append({"destination": destination, "type": "tmpfs", "source": "x", "options": []})
    run(spawner, request_for(spec, tmp_path))
    assert os.listdir(tmp_path / "outside") == []
    assert (root / "outside/a").is_dir()


def test_readonly_binds_cannot_be_written(spawner: Spawner, root: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o777)
    spec = rootfs.spec(root, "sh", "-c", "echo x > /ro/x || echo denied; echo y > /rw/y && cat /ro/y")
    for name, flags in (("ro", ["ro"]), ("rw", [])):
        spec["mounts"].append(
            {"destination": f"/{name}", "type": "bind", "source": str(tmp_path / "data"), "options": ["rbind", *flags]}
        )
    assert run(spawner, request_for(spec, tmp_path)).stdout == "denied\ny\n"


def test_overlay_root(spawner: Spawner, root: Path, tmp_path: Path) -> None:
    for name in ("upper", "work", "empty"):
        (tmp_path / name).mkdir()
    lower = ":".join([str(root)] * 1 + [str(tmp_path / "empty")])
    spec = rootfs.spec("", "sh", "-c", "echo new > /etc/new; cat /etc/passwd | wc -l")
    options = [f"lowerdir={lower}", f"upperdir={tmp_path}/upper", f"workdir={tmp_path}/work"]
    mounts = [{"destination": "/", "type": "overlay", "source": "overlay", "options": options}]
    ran = run(spawner, request_for(spec, tmp_path, rootfs=mounts))
    assert ran.stdout == "2\n"
    assert (tmp_path / "upper/etc/new").read_text() == "new\n"
    assert not (root / "etc/new").exists()
    assert os.listdir(tmp_path / "run") == []


def test_overlay_of_many_layers(spawner: Spawner, root: Path, tmp_path: Path) -> None:
    layers = []
    for number in range(120):
        layer = tmp_path / f"{number:064x}"
        layer.mkdir()
        (layer / f"from-{number}").touch()
        layers.append(str(layer))
    spec = rootfs.spec("", "sh", "-c", "ls / | grep -c from-")
    options = [f"lowerdir={':'.join([*layers, str(root)])}"]
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
        options.append(f"{name}dir={tmp_path}/{name}")
    mounts = [{"destination": "/", "type": "overlay", "source": "overlay", "options": options}]
    assert run(spawner, request_for(spec, tmp_path, rootfs=mounts)).stdout == "120\n"


def test_user_by_name_with_groups_and_home(spawner: Spawner, root: Path, tmp_path: Path) -> None:
    if spawner.id_map.kind == "single":
        with pytest.raises(StartFailed, match=r"setgroups is denied|no id of the host is mapped"):
            run(spawner, request_for(rootfs.spec(root, "id"), tmp_path, user="alice"))
        return
    script = "id -u; id -g; id -G; echo $HOME; grep CapEff /proc/self/status; echo hi > /dev/stdout"
    ran = run(spawner, request_for(rootfs.spec(root, "sh", "-c", script), tmp_path, user="alice"))
    assert ran.stdout.splitlines() == ["1000", "1000", "1000 50", "/home/alice", "CapEff:\t0000000000000000", "hi"]
    ran = run(spawner, request_for(rootfs.spec(root, "id", "-G"), tmp_path, user="7:wheel", groups=["staff"]))
    assert ran.stdout == "10 50\n"


def test_working_directory_is_made(spawner: Spawner, root: Path, tmp_path: Path) -> None:
    assert run(spawner, request_for(rootfs.spec(root, "pwd", cwd="/new/place"), tmp_path)).stdout == "/new/place\n"


def test_limits_and_kernel_parameters(spawner: Spawner, root: Path, tmp_path: Path) -> None:
    spec = rootfs.spec(root, "sh", "-c", "ulimit -n; cat /proc/sys/net/ipv4/ip_unprivileged_port_start")
    spec["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 99}]
    spec["linux"]["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "0"}
    assert run(spawner, request_for(spec, tmp_path)).stdout == "77\n0\n"


def test_a_terminal(spawner: Spawner, root: Path, tmp_path: Path) -> None:
    spec = rootfs.spec(
        root, "sh", "-c", "tty; stty size; test -c /dev/console && echo console; read line; echo got $line"
    )
    spec["process"]["terminal"] = True
    spec["process"]["consoleSize"] = {"height": 33, "width": 77}
    out = run(spawner, request_for(spec, tmp_path), b"word\n").stdout.replace("\r", "").splitlines()
    assert sorted(out) == sorted(["/dev/pts/0", "33 77", "console", "word", "got word"])  # "word" is echoed


def test_signals_are_as_a_new_program_expects_them(spawner: Spawner, root: Path, tmp_path: Path) -> None:
    out = run(
        spawner, request_for(rootfs.spec(root, "grep", "-E", "SigIgn|SigBlk", "/proc/self/status"), tmp_path)
    ).stdout
    assert out.split() == ["SigBlk:", "0000000000000000", "SigIgn:", "0000000000000000"]


@contextmanager
def ignored(*signals: int) -> Iterator[None]:
    """This process ignores these signals, though they may be ones that Python knows nothing of."""
    before = {}
    for number in signals:
        before[number] = (ctypes.c_uint64 * 4)()
        ignore = (ctypes.c_uint64 * 4)(signal.SIG_IGN)
        syscalls.call("rt_sigaction", number, ignore, before[number], 8)
    try:
        yield
    finally:
        for number, action in before.items():
            syscalls.call("rt_sigaction", number, action, 0, 8)


def test_what_the_engine_was_told_to_ignore_is_not_passed_on(root: Path, tmp_path: Path) -> None:
    with ignored(signal.SIGHUP, 32, 33), Spawner() as started:  # nohup, and what some supervisors leave behind
        started.start()
        words = ("grep", "SigIgn", "/proc/self/status")
        out = run(started, request_for(rootfs.spec(root, *words), tmp_path)).stdout
    assert out.split() == ["SigIgn:", "0000000000000000"]


def test_a_worker_runs_beside_the_containers(spawner: Spawner) -> None:
    read, write = os.pipe()
    worker = spawner.start_worker(["/bin/busybox", "sh", "-c", "id -u >&5; exit 3"], {5: write})
    os.close(write)
    assert read_all(read) == "0\n"
    os.close(read)
    assert worker.wait(10) == 3
    worker.close()
