from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.linux import namespaces

if TYPE_CHECKING:
    from collections.abc import Callable

STAT = b"4242 (a (strange) name) S 1 4242 4242 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 200 0"


def test_a_program_may_be_called_anything() -> None:
    assert namespaces.parse_start_time(STAT) == 987654
    assert namespaces.parse_state(STAT) == "S"


@given(st.text(st.characters(codec="latin-1", exclude_characters="\0"), max_size=15))
def test_the_name_does_not_matter(name: str) -> None:
    stat = b"1 (" + name.encode("latin-1") + b") R" + b" 1" * 18 + b" 77 0 0"
    assert namespaces.parse_start_time(stat) == 77


def test_start_times_tell_processes_apart() -> None:
    own = namespaces.start_time(os.getpid())
    assert own > 0
    with subprocess.Popen(["sleep", "60"]) as process:
        assert namespaces.start_time(process.pid) >= own
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert namespaces.start_time(process.pid) == 0  # a zombie
    assert namespaces.start_time(process.pid) == 0


def test_subordinate_ids_by_name_and_number() -> None:
    text = "# comment\nann:100000:65536\nbob:1:2\n1000:300000:10\nann:x:1\nann:5:0\nbroken\n"
    assert namespaces.parse_subids(text, name="ann", number=1000) == [(100000, 65536), (300000, 10)]
    assert namespaces.parse_subids(text, name="eve", number=5) == []


def test_the_own_id_is_root_and_ranges_follow() -> None:
    found = namespaces.id_map(1000, [(100000, 65536), (300000, 10)])
    assert found == [(0, 1000, 1), (1, 100000, 65536), (65537, 300000, 10)]
    assert namespaces.format_map(found) == b"0 1000 1\n1 100000 65536\n65537 300000 10\n"


def test_every_type_has_a_flag_and_a_file() -> None:
    assert set(namespaces.FLAGS) == set(namespaces.FILES)
    for name in namespaces.FILES.values():
        assert os.path.exists(f"/proc/self/ns/{name}")


def test_files_are_written_in_one_call(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    namespaces.write_file(str(path), b"deny")
    assert path.read_bytes() == b"deny"


def test_a_program_gains_by_its_mode_or_its_capabilities(tmp_path: Path) -> None:
    program = tmp_path / "newuidmap"
    program.touch(0o755)
    if "NoNewPrivs:\t1" not in Path("/proc/self/status").read_text(encoding="ascii"):
        assert "neither set-user-id root" in namespaces.why_no_gain(str(program))
        program.chmod(0o4755)
        assert namespaces.why_no_gain(str(program)) == ""
    code = (
        "import ctypes, sys; ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)\n"
        "from jupyter_containers.linux.namespaces import why_no_gain; print(why_no_gain(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(program)], capture_output=True, text=True, check=True)
    assert "no_new_privs" in done.stdout


def test_the_ids_of_another_user_namespace_are_counted(need_tool: Callable[[str], str]) -> None:
    code = "from jupyter_containers.linux.namespaces import outer_ids; print(outer_ids())"
    command = [need_tool("unshare"), "--user", "--map-root-user", sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this host allows no user namespaces here")
    assert done.stdout.strip() == "1"
    with open("/proc/self/uid_map", encoding="ascii") as file:
        first = file.read().split() == ["0", "0", "4294967295"]
    assert namespaces.in_user_namespace() is not first
