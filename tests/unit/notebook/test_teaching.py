"""Checks of exercises: they say what is still wrong and never stop a run of all cells."""

from __future__ import annotations

import pytest

from jupyter_containers.errors import NotFound
from jupyter_containers.notebook.teaching import Exercise


def test_an_answer_that_holds_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    with Exercise(1) as exercise:
        exercise.answered(0, False, "")
        exercise.needs(len("x") == 1, "never said")
    assert exercise.right
    assert exercise.wrong == ""
    assert capsys.readouterr().out == "Exercise 1: right\n"
    assert exercise._repr_html_() == '<p role="status"><strong>✓ Exercise 1: right</strong></p>'


@pytest.mark.parametrize("missing", [..., None])
def test_a_place_that_was_not_filled_in_is_not_an_error(missing: object, capsys: pytest.CaptureFixture[str]) -> None:
    with Exercise(2) as exercise:
        exercise.answered(1, missing)
        raise AssertionError("the check was left before")
    assert not exercise.right
    assert "not yet. Write your answer in the cell above" in capsys.readouterr().out


def test_the_first_thing_that_is_wrong_is_said_with_its_hint(capsys: pytest.CaptureFixture[str]) -> None:
    with Exercise(3, hint="look here") as exercise:
        exercise.needs(True, "this holds")
        exercise.needs([], "nothing < came", hint="look there")
        exercise.needs(False, "this was never asked")
    assert capsys.readouterr().out == "Exercise 3: not yet. Nothing < came.\n  Hint: look there\n"
    page = exercise._repr_html_()
    assert "not yet.</strong> Nothing &lt; came.<br><em>Hint:</em> look there" in page


def test_what_an_answer_leads_to_is_said_instead_of_raised() -> None:
    with Exercise(4) as broken:
        broken.needs(1 / 0, "never reached")
    assert broken.wrong == "your answer led to ZeroDivisionError: division by zero"
    with Exercise(4) as refused:
        raise NotFound("no image called 'x'")
    assert refused.wrong == "no image called 'x'"
    assert not refused.right


def test_an_interrupt_is_no_answer() -> None:
    with pytest.raises(KeyboardInterrupt), Exercise(5):
        raise KeyboardInterrupt
