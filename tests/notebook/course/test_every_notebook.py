"""What holds for each notebook of the course: it runs as given and solved, and its page can be read without scripts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from bs4 import BeautifulSoup

from tests.support import course

if TYPE_CHECKING:
    from collections.abc import Callable

    from bs4 import Tag

    from tests.support.course import Course

pytestmark = pytest.mark.slow
everyone = pytest.mark.parametrize("name", course.NAMES)


def page(executed: Course) -> Tag:
    """The export as somebody without scripts and style sheets has it."""
    soup = BeautifulSoup(executed.html, "html.parser")
    for hidden in soup(["script", "style"]):
        hidden.decompose()
    body = soup.find("body")
    assert body is not None
    return body


@everyone
def test_as_given_each_exercise_is_open_and_nothing_stops_the_run(name: str, notebooks: Callable[..., Course]) -> None:
    executed = notebooks(name)
    assert "Traceback" not in executed.told
    verdicts = executed.verdicts()
    assert list(verdicts) == course.exercises(name)
    for number, said in verdicts.items():
        assert said.startswith(f"Exercise {number}: not yet."), said
        assert "Error" not in said, f"an exercise that nobody has touched must not break: {said}"


@pytest.mark.once
@everyone
def test_with_the_answers_each_exercise_is_right(name: str, notebooks: Callable[..., Course]) -> None:
    if not course.exercises(name):
        assert course.answers(name) == {}
        return
    executed = notebooks(name, solved=True)
    assert "Traceback" not in executed.told
    assert executed.verdicts() == {number: f"Exercise {number}: right" for number in course.exercises(name)}


@everyone
def test_the_page_keeps_its_meaning(name: str, notebooks: Callable[..., Course]) -> None:
    executed = notebooks(name)
    body = page(executed)
    text = " ".join(body.get_text(" ").split())
    for cell in course.read(name).cells:
        for heading in re.findall(r"^#+ (.*)$", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else ():
            assert heading.replace("`", "") in text
    for number in course.exercises(name):
        assert re.search(rf"Exercise {number} .*Exercise {number}: not yet\.", text), f"the text of exercise {number}"
        assert course.MARK in text
    for table in body("table"):
        assert table.find("th") is not None, str(table)[:500]
        assert table.find("caption") is not None or "dataframe" in (table.get("class") or ""), str(table)[:500]
    for image in body("img"):
        assert len(image.get("alt") or "") > 20, "a picture says in words what it shows"
    for drawing in body("svg"):
        assert drawing.find("title") is not None or drawing.get("aria-label"), str(drawing)[:500]


@everyone
def test_no_output_needs_a_script(name: str, notebooks: Callable[..., Course]) -> None:
    for cell in notebooks(name).cells:
        for output in cell.outputs:
            assert "text" in output or "traceback" in output or output.data.get("text/plain") is not None
            assert "<script" not in output.get("data", {}).get("text/html", "")
