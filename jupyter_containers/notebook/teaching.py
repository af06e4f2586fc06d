"""Exercises of a notebook: what is still wrong with an answer, in a sentence, and a hint.

A cell with a check never stops a run of all cells: where the answer is missing, wrong or breaks something, it says so.

    with Exercise(1, hint="compare the two columns") as exercise:
        exercise.answered(layers)
        exercise.needs(layers == 4, f"there are not {layers} layers")
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from jupyter_containers.errors import EngineError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_LONGEST = 300


class _StillOpen(Exception):  # noqa: N818 - no error: it leaves the check
    """The answer is not right yet; the text says why."""


class Exercise:
    """A check of one exercise, shown when its ``with`` ends.

    Attributes
    ----------
    number
        What the exercise is called: ``1`` is shown as "Exercise 1".
    right
        Whether all that was asked for holds; known after the ``with``.
    wrong
        What does not hold yet, in a sentence without its full stop; empty when the answer is right.
    """

    def __init__(self, number: int, *, hint: str = "") -> None:
        self.number = number
        self.right = False
        self.wrong = ""
        self._hint = hint

    def answered(self, *values: object) -> None:
        """Leave the check unless every value was given: ``...`` stands where an answer is to be written."""
        if any(value is ... or value is None for value in values):
            raise _StillOpen("write your answer in the cell above, in the marked place, and run both cells again")

    def needs(self, holds: object, wrong: str, *, hint: str = "") -> None:
        """Leave the check unless this holds. ``wrong`` says what is the case instead, ``hint`` where to look."""
        if not holds:
            self._hint = hint or self._hint
            raise _StillOpen(wrong)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> bool:
        """Show the verdict. What the answer led to is a part of it; an interrupt goes on."""
        if error is not None and not isinstance(error, Exception):
            return False
        if isinstance(error, _StillOpen):
            self.wrong = str(error)
        elif error is not None:
            self.wrong = _said(error)
        self.right = error is None
        self._show()
        return True

    def _show(self) -> None:
        from IPython.display import display  # noqa: PLC0415 - values are made without IPython

        display(self)  # type: ignore[no-untyped-call]  # IPython's is not annotated

    def __repr__(self) -> str:
        """The verdict in a terminal."""
        if self.right:
            return f"Exercise {self.number}: right"
        hint = f"\n  Hint: {self._hint}" if self._hint else ""
        return f"Exercise {self.number}: not yet. {_sentence(self.wrong)}{hint}"

    def _repr_html_(self) -> str:
        """The verdict in a notebook: its meaning is in its words, not in colours."""
        if self.right:
            return f'<p role="status"><strong>✓ Exercise {self.number}: right</strong></p>'
        hint = f"<br><em>Hint:</em> {escape(self._hint)}" if self._hint else ""
        wrong = escape(_sentence(self.wrong))
        return f'<p role="status"><strong>○ Exercise {self.number}: not yet.</strong> {wrong}{hint}</p>'


def _said(error: Exception) -> str:
    """What an answer led to, short enough for a sentence."""
    if isinstance(error, EngineError):
        return error.message[:_LONGEST]
    return f"your answer led to {type(error).__name__}: {error}"[:_LONGEST]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}" if text.endswith((".", "!", "?")) else f"{text[:1].upper()}{text[1:]}."
