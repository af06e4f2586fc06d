"""Templates of ``--format``: what Go's text/template makes of the same text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_containers.commands.formats import Format
from jupyter_containers.commands.go_template import Template
from jupyter_containers.errors import InvalidInput

VALUE: dict[str, Any] = {
    "ID": "abc",
    "Names": "web",
    "List": ["a", "b"],
    "Map": {"k": "v", "z": 1},
    "State": {"Running": True, "Pid": 3, "Health": None},
    "Deep": [[{"Port": {"Number": "80"}}]],
    "Mounts": [{"Source": "/x"}, {"Source": "/y"}],
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{.ID}} {{ .Names }}", "abc web"),
        ("{{range .Mounts}}{{.Source}},{{end}}", "/x,/y,"),
        ("{{range $i, $m := .Mounts}}{{$i}}{{$m.Source}}{{end}}", "0/x1/y"),
        ("{{range $k, $v := .Map}}{{$k}}={{$v}};{{end}}", "k=v;z=1;"),
        ("{{range .Missing}}x{{else}}none{{end}}", None),
        ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
        ("{{if .State.Health}}a{{else if .ID}}b{{end}}", "b"),
        ("{{with .State}}{{.Pid}}{{$.ID}}{{end}}", "3abc"),
        ("{{(index .Mounts 1).Source}} {{(index (index .Deep 0) 0).Port.Number}} {{len (.Map).k}}", "/y 80 1"),
        ("{{json .Map}} {{.Map}} {{.List}} {{.State.Health}}", '{"k":"v","z":1} map[k:v z:1] [a b] <no value>'),
        ('{{index .Map "k"}}{{index .List 1}}{{len .List}}{{index .Map "no"}}', "vb2"),
        ('{{join .List "-"}}{{(split "x/y" "/")}}', "a-b[x y]"),
        ('{{.ID | upper | printf "%-5s|"}}{{title .Names}}{{lower "A"}}{{pad "x" 1 1}}{{truncate "xyz" 2}}', None),
        ("a {{- .ID -}} b{{/* nothing */}}", "aabcb"),
        ('{{if and (eq .ID "x" "abc") (not .State.Health) (gt .State.Pid 2)}}yes{{end}}', "yes"),
        ('{{println .ID 1}}{{"}}"}}{{`"`}}', 'abc 1\n}}"'),
    ],
)
def test_what_a_template_gives(text: str, expected: str | None) -> None:
    if expected is None and "Missing" in text:
        with pytest.raises(InvalidInput, match="no field 'Missing'"):
            Template(text).render(VALUE)
    else:
        assert Template(text).render(VALUE) == (expected or "ABC  |Weba x xy")


@pytest.mark.parametrize(
    "text", ["{{", "{{.ID", "{{end}}", "{{if .ID}}", "{{.ID)}}", "{{foo .ID}}", "{{$x}}", "{{|}}", "{{+}}"]
)
def test_what_cannot_be_read_is_said(text: str) -> None:
    with pytest.raises(InvalidInput):
        Template(text).render(VALUE)


@given(st.text(alphabet='{}.|()$"`-ID endifrange', max_size=40))
def test_no_text_gets_past_it(text: str) -> None:
    try:
        Template(text).render(VALUE)
    except InvalidInput as error:
        assert error.message  # noqa: PT017 - any other error is the failure


def test_the_forms_of_a_listing() -> None:
    rows = [{"ID": "abc", "Name": "web", "Label": {"a": "1"}.get}, {"ID": "d", "Name": "db", "Label": {}.get}]
    titles = {"ID": "CONTAINER ID", "Name": "NAME"}
    assert Format(None).plain
    assert Format("table").plain
    assert Format("json").lines(rows[:1], titles).lines == ('{"ID": "abc", "Name": "web"}',)
    table = Format(r"table {{.ID}}\t{{.Name}}")
    assert table.lines(rows, titles).lines == ("CONTAINER ID   NAME", "abc            web", "d              db")
    assert table.lines([], titles).lines == ("CONTAINER ID   NAME",)
    assert table.fields() == ["ID", "Name"]
    assert Format('{{.Label "a"}}').lines(rows[:1], titles).lines == ("1",)
