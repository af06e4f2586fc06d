"""The one error of the command."""

from __future__ import annotations


class CommandError(Exception):
    """An operation failed; the text is one line for the log. ``status`` is the exit status of the command."""

    def __init__(self, message: str, *, status: int = 1) -> None:
        super().__init__(message)
        self.status = status
