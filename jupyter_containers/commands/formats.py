"""``--format`` of listings: ``table``, ``json``, a template, or a template of a table's rows (``table {{.ID}}``)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from jupyter_containers.commands.go_functions import Loose, Nil
from jupyter_containers.commands.model import Option
from jupyter_containers.commands.results import Documents, Lines

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from jupyter_containers.commands.go_template import Template
    from jupyter_containers.errors import EngineError

FORMAT: Final = Option("format", "table, json, or a template of Go's: '{{.ID}}'", None, "FORMAT")
TEMPLATE: Final = Option("format", "A template of Go's: '{{.State.Status}}'", "f", "TEMPLATE")
SIZE: Final = Option("size", "Measure what a container has written", "s", kind="bool")
_TABLE: Final = "table"


class Format:
    """What ``--format`` says, read before any work is done; ``plain`` means the usual table.

    Raises
    ------
    InvalidInput
        for a template that cannot be read.
    """

    def __init__(self, text: str | None) -> None:
        text = (text or _TABLE).strip()
        self.plain = text == _TABLE
        self.is_json = text == "json"
        self.is_table = text.startswith(f"{_TABLE} ")
        body = text.removeprefix(f"{_TABLE} ").strip() if self.is_table else text
        body = body.replace("\\t", "\t").replace("\\n", "\n")
        self._template = None if self.plain or self.is_json else _template(body)

    def fields(self) -> list[str]:
        """The fields that a template names."""
        return [] if self._template is None else self._template.fields()

    def lines(self, rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> Lines:
        """The rows as lines; ``titles`` are those of the fields that are not called what they are."""
        if self._template is None:
            return Lines(tuple(_json(row) for row in rows))
        texts = [self._template.render(dict(row)) for row in rows]
        if not self.is_table:
            return Lines(tuple(texts))
        from jupyter_containers.commands.tables import align  # noqa: PLC0415 - fast start

        header = self._template.render({name: _title(name, titles) for name in rows[0]} if rows else _Titles(titles))
        table = [text.split("\t") for text in (header, *texts)]
        width = max(map(len, table))
        return Lines(tuple(align(*_header_and_rows([row + [""] * (width - len(row)) for row in table]))))


def _template(text: str) -> Template:
    from jupyter_containers.commands.go_template import Template  # noqa: PLC0415 - fast start

    return Template(text)


def documents(found: Sequence[Mapping[str, Any]], errors: Sequence[EngineError], text: str | None) -> Documents | Lines:
    """What ``inspect`` found: as it is, or by a template."""
    if text in {None, "", "json"}:
        return Documents(tuple(found), tuple(errors))
    assert text is not None
    template = _template(text.replace("\\t", "\t").replace("\\n", "\n"))
    return Lines(tuple(template.render(_complete(document)) for document in found), tuple(errors))


def inspected(names: Sequence[str], look: Callable[[str], Mapping[str, Any]], text: str | None) -> Documents | Lines:
    """Everything known of each name; one that there is not does not keep the others from being shown."""
    from jupyter_containers.errors import EngineError  # noqa: PLC0415 - fast start

    found: list[Mapping[str, Any]] = []
    errors: list[EngineError] = []
    for name in names:
        try:
            found.append(look(name))
        except EngineError as error:
            errors.append(error)
    return documents(found, errors, text)


def moment(at: datetime | None) -> str:
    """The field CreatedAt."""
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S %z %Z}" if at else "N/A"


def labels(found: Mapping[str, str]) -> dict[str, Any]:
    """The fields Labels, all of them, and Label, one by its name."""
    return {
        "Labels": ",".join(f"{name}={value}" for name, value in found.items()),
        "Label": lambda name: found.get(name, ""),
    }


def _complete(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document with what others of its kind may have, and with what its empty values are: a template may ask."""
    if "State" in document:
        document = {**document, "State": {"Health": None, **document["State"]}}
    if "Config" in document:
        document = dict(document)
        document["Config"] = {"ExposedPorts": None, "Healthcheck": None, **document["Config"]}
    return {name: _typed(name, value) for name, value in document.items()}


_MAPS: Final = frozenset(
    "Annotations Config Data ExposedPorts Labels Options PortBindings Ports StorageOpt Sysctls Tmpfs Volumes".split()  # noqa: SIM905 - a list of names reads best as prose
)
_OF_TEXTS: Final = frozenset({"Annotations", "Labels", "Options", "Sysctls"})
_POINTERS: Final = frozenset(
    "Health Healthcheck Init IPAMConfig MemorySwappiness OomKillDisable PidsLimit StopTimeout".split()  # noqa: SIM905 - the same
)


def _typed(name: str, value: Any) -> Any:
    """The value, with the empty list, map or pointer that Go has where JSON has null."""
    if isinstance(value, dict):
        typed = {inner: _typed(inner, each) for inner, each in value.items()}
        return Loose(typed) if name in _OF_TEXTS else typed
    if value is not None:
        return value
    return Nil("map[]" if name in _MAPS else "<nil>" if name in _POINTERS else "[]")


def _header_and_rows(table: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    return table[0], table[1:]


class _Titles(dict[str, Any]):
    """The title of any field, where there is no row that says which there are."""

    def __init__(self, titles: Mapping[str, str]) -> None:
        super().__init__()
        self._known = titles

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str)

    def __missing__(self, name: str) -> Any:
        return _title(name, self._known)


def _title(name: str, titles: Mapping[str, str]) -> Any:
    title = titles.get(name) or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).upper()
    return (lambda key: key) if name == "Label" else title


def _json(row: Mapping[str, Any]) -> str:
    import json  # noqa: PLC0415 - fast start

    return json.dumps({name: value for name, value in sorted(row.items()) if not callable(value)}, ensure_ascii=False)
