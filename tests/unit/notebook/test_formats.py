from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from jupyter_containers.errors import Unsupported, UsageError
from jupyter_containers.notebook import formats

FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", "y, z"]})


@pytest.mark.parametrize("path", ["/d/x.csv", "/x.TSV", "/x.jsonl"])
def test_a_table_comes_back(path: str) -> None:
    data = formats.encode("--in", FRAME, path)
    pd.testing.assert_frame_equal(formats.decode("--out", data, path), FRAME)


def test_an_index_that_means_something_is_a_column() -> None:
    assert formats.encode("", FRAME.set_index("b"), "/x.csv") == b'b,a\nx,1\n"y, z",2\n'
    assert formats.encode("", FRAME["a"], "/x.csv") == b"a\n1\n2\n"


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (np.arange(6.0).reshape(2, 3), "/x.npy"),
        ({"a": [1, None, "ü"]}, "/x.json"),
        (b"\x00\xff", "/x"),
        (b"anything", "/x.png"),
        ("text\n", "/x.txt"),
    ],
)
def test_other_values_come_back(value: Any, path: str) -> None:
    back = formats.decode("", formats.encode("", value, path), path)
    assert type(back) is type(value)
    assert np.array_equal(back, value) if isinstance(value, np.ndarray) else back == value


@pytest.mark.parametrize(
    ("value", "path", "message"),
    [
        (FRAME, "/x.npy", "a DataFrame cannot be written as .npy"),
        (np.arange(2), "/x.csv", "an? ndarray cannot be written as .csv"),
        (np.array([object()]), "/x.npy", "cannot be written as .npy: Object arrays"),
        ({1, 2}, "/x.json", "not JSON serializable"),
        (object(), "/x", "an object cannot be written as a file without suffix"),
    ],
)
def test_a_value_without_such_a_form_is_refused(value: object, path: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        formats.encode("--in x=/x", value, path)


def test_suffixes_are_checked_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="a pickle can run code"):
        formats.check("--in x=/x.pkl", "/x.pkl")
    with pytest.raises(UsageError, match=r"files that end with \.xyz"):
        formats.check("--in x=/x.xyz", "/x.xyz")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(Unsupported, match="no pyarrow"):
        formats.check("--in x=/x.parquet", "/x.parquet")


def test_a_file_that_is_not_what_it_is_called_is_named() -> None:
    with pytest.raises(UsageError, match=r"--out r: /x.json is no .json that can be read: "):
        formats.decode("--out r", b"{", "/x.json")


def test_kinds_are_known_without_imports() -> None:
    values = (FRAME, FRAME["a"], np.arange(1), "a", b"", bytearray(), Path("/"), 3)
    assert [formats.kind_of(value) for value in values] == [
        *("table", "table", "array", "text", "bytes", "bytes", "path", "other")
    ]
