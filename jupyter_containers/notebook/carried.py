"""Runs the Python of a cell in an image, and carries plain values, arrays and tables in and out.

This file itself is what runs in the image, with nothing of this package beside it: it needs Python 3.8 and no more, and
numpy or pandas only for values of theirs. The notebook uses :func:`pack` and :func:`unpack` of it for its own side.

A value is a kind and bytes. ``json`` and ``bytes`` need nothing; ``array`` is numpy's own format; a ``table`` is JSON
with the type of every column, which loses nothing and needs no package beside pandas.
"""

from __future__ import annotations

import ast
import io
import json
import os
import sys
import traceback
import types
from typing import Any

CELL = "<cell>"
_PLAIN = (str, int, float, bool, type(None))


class CannotCarry(Exception):  # noqa: N818 - what cannot be done
    """A value has no form that can be carried; ``lacks`` names the package that is missing."""

    def __init__(self, message: str, lacks: str = "") -> None:
        super().__init__(message)
        self.lacks = lacks


# -- values ----------------------------------------------------------------------------------------------------------


def pack(value: Any) -> tuple[str, bytes]:
    """The kind of a value and its bytes."""
    names = {kind.__module__.split(".")[0] + "." + kind.__name__ for kind in type(value).__mro__}
    if names & {"pandas.DataFrame", "pandas.Series"}:
        return "table", json.dumps(_table_out(value)).encode()
    if "numpy.generic" in names:
        value = value.item()
    if isinstance(value, (bytes, bytearray)):
        return "bytes", bytes(value)
    if "numpy.ndarray" in names:
        stream = io.BytesIO()
        try:
            _package("numpy").save(stream, value, allow_pickle=False)
        except ValueError:
            raise CannotCarry("is an array of Python objects: make it one of numbers or texts") from None
        return "array", stream.getvalue()
    _check_plain(value)
    return "json", json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def unpack(kind: str, data: bytes) -> Any:
    """The value of a kind and bytes."""
    if kind == "bytes":
        return data
    if kind == "json":
        return json.loads(data.decode("utf-8", "surrogatepass"))
    if kind == "array":
        return _package("numpy").load(io.BytesIO(data), allow_pickle=False)
    return _table_in(json.loads(data))


def _check_plain(value: Any) -> None:
    if isinstance(value, _PLAIN):
        return
    if isinstance(value, (list, tuple)):
        for item in value:
            _check_plain(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise CannotCarry(f"has the key {key!r}: only texts are keys in JSON")
            _check_plain(item)
    else:
        name = type(value).__name__
        raise CannotCarry(f"is or holds a {name}: only plain values, arrays, tables and bytes are carried")


def _package(name: str) -> Any:
    try:
        return __import__(name)
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == name
        raise CannotCarry(f"has no {name}" if missing else f"cannot import {name}: {error}", lacks=name) from error


def _table_out(value: Any) -> dict[str, Any]:
    pd = _package("pandas")
    is_series = isinstance(value, pd.Series)
    frame = value.to_frame() if is_series else value
    if isinstance(frame.columns, pd.MultiIndex):
        raise CannotCarry("has columns of several levels: flatten them")
    columns = [[_label(name), _column_out(pd, frame.iloc[:, at])] for at, name in enumerate(frame.columns)]
    index = frame.index
    names = [_label(name) for name in index.names]
    if type(index).__name__ == "RangeIndex":
        levels: Any = [index.start, index.stop, index.step]
    else:
        levels = [_column_out(pd, pd.Series(index.get_level_values(at))) for at in range(index.nlevels)]
    named = value.name is not None if is_series else True
    return {
        "columns": columns,
        "levels": levels,
        "range": type(index).__name__ == "RangeIndex",
        "multi": isinstance(index, pd.MultiIndex),
        "names": names,
        "series": is_series,
        "named": named,
    }


def _label(name: Any) -> Any:
    if hasattr(name, "item"):
        name = name.item()
    if not isinstance(name, _PLAIN):
        raise CannotCarry(f"has a column or an index called {name!r}: use a text")
    return name


def _column_out(pd: Any, column: Any) -> dict[str, Any]:
    dtype = str(column.dtype)
    if dtype == "category":
        kept = column.cat
        categories = _column_out(pd, pd.Series(kept.categories))
        return {
            "dtype": dtype,
            "values": kept.codes.tolist(),
            "categories": categories,
            "ordered": bool(kept.ordered),
        }
    if dtype.startswith("datetime64"):
        return {"dtype": dtype, "values": pd.DatetimeIndex(column).asi8.tolist()}
    if dtype.startswith("timedelta64"):
        return {"dtype": dtype, "values": pd.TimedeltaIndex(column).asi8.tolist()}
    if dtype.startswith(("complex", "period", "interval", "Sparse")):
        raise CannotCarry(f"has a column of {dtype}: make it one of numbers, times or texts")
    values = column.tolist()
    if not dtype.startswith(("int", "uint", "float", "bool")):
        values = [None if _is_missing(pd, item) else item for item in values]
        _check_plain(values)
    return {"dtype": dtype, "values": values}


def _is_missing(pd: Any, item: Any) -> bool:
    return item is None or item is pd.NA or item is pd.NaT or (isinstance(item, float) and item != item)  # noqa: PLR0124 - NaN


def _table_in(table: dict[str, Any]) -> Any:
    pd = _package("pandas")
    columns = [_column_in(pd, column) for _name, column in table["columns"]]
    if table["range"]:
        index = pd.RangeIndex(*table["levels"], name=table["names"][0])
    elif table["multi"]:
        index = pd.MultiIndex.from_arrays([_column_in(pd, level) for level in table["levels"]], names=table["names"])
    else:
        index = pd.Index(_column_in(pd, table["levels"][0]), name=table["names"][0])
    frame = pd.concat(columns, axis=1) if columns else pd.DataFrame()
    frame.columns = [name for name, _column in table["columns"]]
    frame.index = index
    if not table["series"]:
        return frame
    series = frame.iloc[:, 0]
    if not table["named"]:
        series.name = None
    return series


def _column_in(pd: Any, column: dict[str, Any]) -> Any:
    dtype, values = column["dtype"], column["values"]
    if dtype == "category":
        categories = _column_in(pd, column["categories"])
        return pd.Series(pd.Categorical.from_codes(values, categories=categories, ordered=column["ordered"]))
    if dtype.startswith("datetime64"):
        unit, _, zone = dtype[len("datetime64[") : -1].partition(", ")
        times = pd.DatetimeIndex(_package("numpy").array(values, dtype="int64").view("M8[" + unit + "]"))
        return pd.Series(times.tz_localize("UTC").tz_convert(zone) if zone else times)
    if dtype.startswith("timedelta64"):
        return pd.Series(_package("numpy").array(values, dtype="int64").view("m8[" + dtype[len("timedelta64[") :]))
    if dtype == "str" and int(pd.__version__.split(".")[0]) < 3:  # noqa: PLR2004 - where that type came
        dtype = "object"
    return pd.Series(values, dtype=dtype)


# -- the cell --------------------------------------------------------------------------------------------------------


def main(directory: str) -> int:
    """Run the cell that is in a directory; what it made, or what went wrong, is written below ``out`` there."""
    with open(os.path.join(directory, "cell.json"), encoding="utf-8") as stream:
        order = json.load(stream)
    module = types.ModuleType("__main__")
    module.__dict__["__builtins__"] = __builtins__
    sys.path[0] = ""
    sys.argv = ["", *order["arguments"]]
    sys.modules["__main__"] = module
    namespace = module.__dict__
    for name, (kind, place) in order["in"].items():
        with open(os.path.join(directory, place), "rb") as packed:
            data = packed.read()
        try:
            namespace[name] = unpack(kind, data)
        except CannotCarry as error:
            return _report(directory, {"carry": name, "message": str(error), "lacks": error.lacks, "way": "in"})
    status = _execute(order["source"], namespace, directory)
    return status or _deliver(order["out"], namespace, directory)


def _execute(source: str, namespace: dict[str, Any], directory: str) -> int:
    import linecache  # noqa: PLC0415 - for tracebacks alone

    linecache.cache[CELL] = (len(source), None, source.splitlines(True), CELL)
    try:
        tree = ast.parse(source, CELL)
        last = tree.body[-1] if tree.body else None
        if isinstance(last, ast.Expr) and not source.rstrip().endswith(";"):
            tree.body.pop()
            exec(compile(tree, CELL, "exec"), namespace)  # noqa: S102 - the user's own program
            value = eval(compile(ast.Expression(last.value), CELL, "eval"), namespace)  # noqa: S307 - the same
            if value is not None:
                print(repr(value))  # noqa: T201 - as a notebook shows the last expression
        else:
            exec(compile(tree, CELL, "exec"), namespace)  # noqa: S102 - the user's own program
    except SystemExit as error:
        if error.code is None or error.code == 0:
            return 0
        if not isinstance(error.code, int):
            sys.stderr.write(str(error.code) + "\n")
            return 1
        return error.code
    except BaseException as error:  # noqa: BLE001 - whatever it is goes to the notebook
        return _report(directory, _describe(error))
    return 0


def _describe(error: BaseException) -> dict[str, Any]:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    ours = [frame for frame in frames if frame.filename == CELL]
    report = {
        "type": type(error).__name__,
        "message": str(error),
        "lines": [[frame.lineno, (frame.line or "").strip(), frame.name] for frame in ours],
        "inside": "" if not frames or frames[-1].filename == CELL else _inside(frames[-1]),
        "traceback": "".join(traceback.format_exception(type(error), error, error.__traceback__)),
    }
    if isinstance(error, SyntaxError) and error.filename == CELL:
        report["message"] = error.msg
        report["lines"] = [[error.lineno, (error.text or "").strip(), ""]]
        report["inside"] = ""
    return report


def _inside(frame: Any) -> str:
    return f"{frame.filename}:{frame.lineno}, in {frame.name}"


def _deliver(names: list[str], namespace: dict[str, Any], directory: str) -> int:
    made = {}
    for number, name in enumerate(names):
        if name not in namespace:
            return _report(directory, {"carry": name, "message": "was not set by the cell", "lacks": "", "way": "out"})
        try:
            kind, data = pack(namespace[name])
        except CannotCarry as error:
            return _report(directory, {"carry": name, "message": str(error), "lacks": error.lacks, "way": "out"})
        place = os.path.join("out", str(number))
        with open(os.path.join(directory, place), "wb") as stream:
            stream.write(data)
        made[name] = [kind, place]
    _write(directory, "made", made)
    return 0


def _report(directory: str, report: dict[str, Any]) -> int:
    _write(directory, "error", report)
    return 1


def _write(directory: str, name: str, value: Any) -> None:
    with open(os.path.join(directory, "out", name + ".json"), "w", encoding="utf-8", errors="replace") as stream:
        json.dump(value, stream)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]) if len(sys.argv) > 1 else 2)
