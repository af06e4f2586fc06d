from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

import msgspec
import pytest

from jupyter_containers import documents

RACE = """
import sys, threading
from typing import Optional
import msgspec
from jupyter_containers import documents

sys.setswitchinterval(1e-6)
FIELDS = "".join(f"    f{i}: 'tuple[Optional[dict[str, int]], ...]'\\n" for i in range(20))
PART = "class Part{n}(msgspec.Struct):\\n" + FIELDS
WHOLE = PART + "class Whole{n}(msgspec.Struct):\\n" + "".join(f"    g{i}: 'list[Part{{n}}]'\\n" for i in range(20))
DATA = msgspec.json.encode({f"g{i}": [{f"f{i}": [{"x": 1}] for i in range(20)}] for i in range(20)})

def read(kind, barrier):
    barrier.wait()
    assert DECODE(DATA, kind).g19[0].f19 == ({"x": 1},)

for n in range(40):
    exec(WHOLE.format(n=n))
    barrier = threading.Barrier(6)
    threads = [threading.Thread(target=read, args=(globals()[f"Whole{n}"], barrier)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print("read")
"""


def race(decode: str) -> subprocess.CompletedProcess[str]:
    script = dedent(RACE).replace("DECODE", decode)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)


def test_many_threads_may_read_a_kind_for_the_first_time() -> None:
    done = race("documents.decode")
    assert (done.returncode, done.stdout, done.stderr) == (0, "read\n", "")


def test_other_documents_are_refused() -> None:
    assert documents.decode(b'{"a": 1}', dict[str, int]) == {"a": 1}
    with pytest.raises(msgspec.DecodeError):
        documents.decode(b'{"a": "b"}', dict[str, int])
    with pytest.raises(msgspec.DecodeError):
        documents.decode(b"{", dict[str, int])
