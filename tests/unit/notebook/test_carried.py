from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.notebook import carried

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(PLAIN | st.binary())
def test_plain_values_come_back(value: Any) -> None:
    kind, data = carried.pack(value)
    assert carried.unpack(kind, data) == value


FRAME = pd.DataFrame(
    {
        "n": [1, 2, 3],
        "s": ["x", "", None],
        "f": [1.5, float("nan"), 0.1],
        "i": pd.array([1, None, 2**60], dtype="Int64"),
        "y": [True, False, True],
        "t": pd.date_range("2020", periods=3, tz="Europe/Vienna"),
        "u": pd.to_datetime(["2020-01-01", "NaT", "1969-01-01"]),
        "d": pd.to_timedelta([1, 2, 3], unit="s"),
        "c": pd.Categorical(["u", None, "u"], categories=["v", "u"], ordered=True),
        "o": pd.Series([{"a": 1}, None, [1]], dtype="object"),
        3: [1, 2, 3],
    }
)


@pytest.mark.parametrize(
    "frame",
    [
        FRAME,
        FRAME.set_index("s"),
        FRAME.set_index(["n", "t"]),
        FRAME.iloc[:0],
        FRAME[[]],
        FRAME.set_index(pd.RangeIndex(5, 11, 2, name="step")),
    ],
    ids=["types", "index", "levels", "no rows", "no columns", "range"],
)
def test_tables_come_back_as_they_were(frame: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(carried.unpack(*carried.pack(frame)), frame, check_column_type=False)


def test_series_and_arrays_come_back_as_they_were() -> None:
    for series in (FRAME["t"], pd.Series([1, 2], index=["a", "b"])):
        pd.testing.assert_series_equal(carried.unpack(*carried.pack(series)), series)
    array = np.arange(6, dtype="float32").reshape(2, 3)
    back = carried.unpack(*carried.pack(array))
    assert back.dtype == array.dtype
    assert np.array_equal(back, array)
    assert carried.pack(np.float64(1.5)) == ("json", b"1.5")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1: 2}, "has the key 1"),
        ([{1, 2}], "is or holds a set"),
        (np.array([object()]), "array of Python objects"),
        (pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])), "several levels"),
        (pd.DataFrame({"z": [1j]}), "column of complex128"),
    ],
)
def test_what_cannot_be_carried_says_why(value: object, message: str) -> None:
    with pytest.raises(carried.CannotCarry, match=message):
        carried.pack(value)


def run(tmp_path: Path, source: str, *out: str, **values: Any) -> tuple[subprocess.CompletedProcess[str], Any]:
    """The cell in a Python of its own, and what it left: its variables, or the report of an error."""
    (tmp_path / "out").mkdir()
    order: dict[str, Any] = {"source": source, "arguments": ["a b"], "in": {}, "out": list(out)}
    for name, value in values.items():
        kind, data = carried.pack(value)
        (tmp_path / name).write_bytes(data)
        order["in"][name] = [kind, name]
    (tmp_path / "cell.json").write_text(json.dumps(order))
    # Isolated and without site: no package of ours, nor any other, may be needed.
    done = subprocess.run(
        [sys.executable, "-I", "-S", carried.__file__, str(tmp_path)], check=False, capture_output=True, text=True
    )
    if (report := tmp_path / "out" / "error.json").exists():
        return done, json.loads(report.read_text())
    if not (made := tmp_path / "out" / "made.json").exists():
        return done, None
    found = json.loads(made.read_text())
    return done, {name: carried.unpack(kind, (tmp_path / at).read_bytes()) for name, (kind, at) in found.items()}


def test_a_cell_has_its_variables_and_leaves_others(tmp_path: Path) -> None:
    source = "import sys\nif __name__ == '__main__':\n    z = [x, sys.argv]\nclass A: pass\nlen(x)\n"
    done, made = run(tmp_path, source, "z", x="ü")
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")
    assert made == {"z": ["ü", ["", "a b"]]}


@pytest.mark.parametrize(("source", "printed"), [("1+1;", ""), ("None", ""), ("", ""), ("print(1)\n'a'", "1\n'a'\n")])
def test_the_last_expression_is_shown(tmp_path: Path, source: str, printed: str) -> None:
    done, _made = run(tmp_path, source)
    assert (done.returncode, done.stdout) == (0, printed)


def test_an_error_names_the_lines_of_the_cell(tmp_path: Path) -> None:
    done, report = run(tmp_path, "import json\n\ndef f(text):\n    return json.loads(text)\nf('{')\n")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    assert report["type"] == "JSONDecodeError"
    assert report["lines"] == [[5, "f('{')", "<module>"], [4, "return json.loads(text)", "f"]]
    assert "json/decoder.py:" in report["inside"]
    assert report["traceback"].startswith("Traceback (most recent call last)")


def test_a_cell_that_is_no_python_is_named(tmp_path: Path) -> None:
    done, report = run(tmp_path, "x = 1\ny = (\n")
    assert done.returncode == 1
    assert (report["type"], report["message"]) == ("SyntaxError", "'(' was never closed")
    assert report["lines"] == [[2, "y = (", ""]]


@pytest.mark.parametrize(
    ("code", "status", "said"), [("", 0, ""), ("0", 0, ""), ("4", 4, ""), ("'no data'", 1, "no data\n")]
)
def test_a_cell_may_exit(tmp_path: Path, code: str, status: int, said: str) -> None:
    done, made = run(tmp_path, f"z = 1\nimport sys\nsys.exit({code})", "z")
    assert (done.returncode, done.stderr) == (status, said)
    assert made == ({"z": 1} if status == 0 else None)


def test_what_is_missing_or_cannot_be_carried_is_named(tmp_path: Path) -> None:
    _done, report = run(tmp_path, "x = 1", "z")
    assert report == {"carry": "z", "message": "was not set by the cell", "lacks": "", "way": "out"}
    (tmp_path / "second").mkdir()
    _done, report = run(tmp_path / "second", "z = object()", "z")
    assert report["message"].startswith("is or holds a object")


def test_an_image_without_pandas_is_named(tmp_path: Path) -> None:
    done, report = run(tmp_path, "print(df)", df=FRAME)
    assert done.returncode == 1
    assert report == {"carry": "df", "message": "has no pandas", "lacks": "pandas", "way": "in"}
