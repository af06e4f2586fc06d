"""Values of the notebook in containers and back, in a real kernel with real containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.notebook.conftest import Kernel

pytestmark = pytest.mark.root


def test_a_table_goes_in_and_a_result_comes_out(kernel: Kernel, store_root: Path) -> None:
    kernel.run("import pandas as pd\nfrom pathlib import Path\ndf = pd.DataFrame({'a': [1, 2], 'b': ['x', 'y z']})")
    ended = kernel.run(
        "%container run --rm --network none --user 1000 --in df=/data/df.csv --out result=/out/r.csv starter "
        "sh -c 'umask 077; sed s/x/changed/ /data/df.csv > /out/r.csv';\n"
        "print(type(result).__name__, result['b'].tolist(), result['a'].dtype)"
    )
    assert ended.stdout == "DataFrame ['changed', 'y z'] int64\n", ended
    ended = kernel.run("%container run --rm --network none --out r=/out/r.csv starter touch /out/other.csv")
    assert ended.error == [
        "NotFound: --out r=/out/r.csv: the container did not write it",
        "  hint: /out holds other.csv",
    ]
    assert kernel.run("%container ps -aq").data == {"text/plain": "[]"}
    left = [path for path in (store_root / "scratch").rglob("*") if path.is_file() and path.stat().st_size]
    assert not left


def test_python_of_a_cell_runs_in_the_image(kernel: Kernel) -> None:
    kernel.run("x = {'a': [1, 2.5, None]}\ny = b'\\x00'")
    ended = kernel.run(
        "%%container run --rm --network none --python --in x,y --out z starter-python arg\n"
        "import os, sys\nprint(sys.argv[1:])\nz = [x, len(y), os.path.exists('/etc/starter'), __name__]\nlen(x['a'])\n"
    )
    assert (ended.status, ended.stdout) == ("ok", "['arg']\n3\n"), ended
    assert kernel.run("z").data["text/plain"] == "[{'a': [1, 2.5, None]}, 1, False, '__main__']"
    ended = kernel.run(
        "%%container run --rm --network none --python starter-python\ndef f(n):\n    return 1 / n\n\nf(0)\n"
    )
    assert ended.error == [
        "CellFailed: line 2 of the cell: ZeroDivisionError: division by zero",
        "     4 | f(0)",
        "     2 | return 1 / n",
    ]
    assert (ended.name, ended.stdout, ended.stderr) == ("CellFailed", "", "")
    ended = kernel.run("%%container --no-raise run --rm --network none --python starter-python\n1/0\n")
    assert ended.data["text/plain"].startswith("RunResult(exit status 1")


def test_python_of_a_cell_is_interrupted(kernel: Kernel) -> None:
    kernel.run("%container pull starter-python")
    message = kernel.start(
        "%%container run --rm --network none --python starter-python\nprint('up')\nimport time\ntime.sleep(1000)\n"
    )
    kernel.finish(message, until="up")
    kernel.manager.interrupt_kernel()
    ended = kernel.finish(message)
    assert (ended.status, ended.name) == ("error", "Interrupted")
    assert kernel.run("%container ps -aq").data == {"text/plain": "[]"}
