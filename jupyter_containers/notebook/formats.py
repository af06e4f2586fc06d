"""Values of a notebook as files, by the suffix of the path: tables, arrays, texts, bytes.

No format here runs code when it is read: pickles are refused both ways.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import posixpath
from typing import TYPE_CHECKING, Any

from jupyter_containers.errors import Unsupported, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

TABLES = (".csv", ".tsv", ".parquet", ".feather", ".jsonl")
TEXTS = (".txt", ".log", ".md", ".html", ".xml", ".yaml", ".yml", ".toml", ".py", ".r", ".sh", ".sql", ".svg")
BYTES = ("", ".bin", ".dat", ".png", ".jpg", ".jpeg", ".gif", ".pdf", ".gz", ".zip", ".tar", ".xlsx", ".h5", ".nc")
KNOWN = (*TABLES, ".json", ".npy", *TEXTS, *BYTES)
_PICKLES = (".pkl", ".pickle", ".joblib")
_NEED_ARROW = (".parquet", ".feather")


def suffix_of(path: str) -> str:
    """The suffix in small letters; empty where there is none."""
    return posixpath.splitext(path.rstrip("/"))[1].lower()


def check(option: str, path: str) -> None:
    """Refuse a path that no value can be read from or written to.

    Raises
    ------
    UsageError, Unsupported
        for an unknown suffix, for a pickle, for a format whose package is not here.
    """
    suffix = suffix_of(path)
    if suffix in _PICKLES:
        raise UsageError(
            f"{option}: a pickle can run code when it is read, so it is not carried",
            hint="use .parquet or .csv for a table, .npy for an array, .json for plain values",
        )
    if suffix not in KNOWN:
        raise UsageError(
            f"{option}: no value is known for files that end with {suffix}",
            hint=f"use {', '.join((*TABLES, '.json', '.npy', '.txt'))}, none for bytes, or a Path to copy the file",
        )
    if suffix in _NEED_ARROW:
        _arrow(option)


def _arrow(option: str) -> None:
    if importlib.util.find_spec("pyarrow") is None:
        raise Unsupported(
            f"{option}: this notebook has no pyarrow, which the format needs", hint="pip install pyarrow, or use .csv"
        )


def kind_of(value: object) -> str:
    """What a value is to this module: ``table``, ``array``, ``text``, ``bytes``, ``path`` or ``other``.

    Known by the names of the types: neither pandas nor numpy is imported for it.
    """
    names = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(value).__mro__}
    if names & {"pandas.DataFrame", "pandas.Series"}:
        return "table"
    if "numpy.ndarray" in names:
        return "array"
    if isinstance(value, str):
        return "text"
    if isinstance(value, bytes | bytearray | memoryview):
        return "bytes"
    return "path" if isinstance(value, os.PathLike) else "other"


def encode(option: str, value: Any, path: str) -> bytes:
    """The file that a value makes.

    Raises
    ------
    UsageError
        when such a value has no such form.
    """
    suffix, kind = suffix_of(path), kind_of(value)
    if kind == "bytes":
        return bytes(value)
    if kind == "text":
        return str(value).encode()
    try:
        if kind == "table" and suffix in TABLES:
            return _WRITERS[suffix](value.to_frame() if hasattr(value, "to_frame") else value)
        if kind == "table" and suffix == ".json":
            return str(value.to_json(orient="records", date_format="iso")).encode()
        if kind == "array" and suffix == ".npy":
            return _array(value)
        if suffix == ".json" and kind == "other":
            return json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, TypeError, OverflowError) as error:
        raise UsageError(f"{option}: it cannot be written as {suffix}: {error}") from error
    wanted = {"table": f"a table goes to {', '.join((*TABLES, '.json'))}", "array": "an array goes to .npy"}
    raise UsageError(
        f"{option}: {_named(value)} cannot be written as {suffix or 'a file without suffix'}",
        hint=wanted.get(kind, "plain values go to .json; or make it bytes, a text or a Path"),
    )


def _named(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _array(value: Any) -> bytes:
    import numpy as np  # noqa: PLC0415 - slow to import

    stream = io.BytesIO()
    np.save(stream, value, allow_pickle=False)
    return stream.getvalue()


def _csv(separator: str) -> Callable[[Any], bytes]:
    def write(frame: Any) -> bytes:
        # The index is a column where it means something: one that only counts is made again.
        counts = type(frame.index).__name__ == "RangeIndex" and frame.index.name is None
        return str(frame.to_csv(sep=separator, index=not counts)).encode()

    return write


def _parquet(frame: Any) -> bytes:
    stream = io.BytesIO()
    frame.to_parquet(stream)
    return stream.getvalue()


def _feather(frame: Any) -> bytes:
    stream = io.BytesIO()
    frame.reset_index(drop=type(frame.index).__name__ == "RangeIndex").to_feather(stream)
    return stream.getvalue()


def _lines(frame: Any) -> bytes:
    return str(frame.to_json(orient="records", lines=True, date_format="iso")).encode()


_WRITERS: dict[str, Callable[[Any], bytes]] = {
    ".csv": _csv(","),
    ".tsv": _csv("\t"),
    ".parquet": _parquet,
    ".feather": _feather,
    ".jsonl": _lines,
}


def decode(option: str, data: bytes, path: str) -> Any:
    """The value of a file: a DataFrame, an array, what JSON says, a text or bytes.

    Raises
    ------
    UsageError
        when it is not of the form its suffix names.
    """
    suffix = suffix_of(path)
    try:
        if suffix in TABLES:
            return _table(data, suffix)
        if suffix == ".npy":
            import numpy as np  # noqa: PLC0415 - slow to import

            return np.load(io.BytesIO(data), allow_pickle=False)
        if suffix == ".json":
            return json.loads(data)
        return data.decode() if suffix in TEXTS else data
    except Exception as error:  # the readers of these formats raise errors of their own kinds
        raise UsageError(
            f"{option}: {path} is no {suffix or 'file'} that can be read: {error}",
            hint="name it without a suffix to get its bytes",
        ) from error


def _table(data: bytes, suffix: str) -> Any:
    import pandas as pd  # noqa: PLC0415 - slow to import

    stream = io.BytesIO(data)
    match suffix:
        case ".parquet":
            return pd.read_parquet(stream)
        case ".feather":
            return pd.read_feather(stream)
        case ".jsonl":
            return pd.read_json(stream, lines=True)
        case _:
            return pd.read_csv(stream, sep="\t" if suffix == ".tsv" else ",")
