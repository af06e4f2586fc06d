"""Finding the here-documents that a logical line opens.

The line is cut into words as a shell would, quotes kept; a word ``<<NAME`` or ``<<-NAME``, perhaps after a number,
opens one. A line that cannot be cut so (an apostrophe in ``echo it's``) opens none.
"""

from __future__ import annotations

import re

from jupyter_containers.build.dockerfile.expand import ExpansionError, Lexer
from jupyter_containers.build.dockerfile.nodes import Heredoc

_OPENER = re.compile(r"([0-9]*)<<(-?)([^<]*)", re.DOTALL)
_MAX_DESCRIPTOR_DIGITS = 9


def opened_by(line: str) -> list[Heredoc]:
    """The here-documents of a line, still without content."""
    try:
        _, words = Lexer(line, {}, raw_quotes=True, raw_escapes=True, keep_unset=True).run()
    except ExpansionError:
        return []
    found = (opener(word) for word in words)
    return [heredoc for heredoc in found if heredoc]


def opener(word: str) -> Heredoc | None:
    """The here-document, still without content, that a word opens, if it does."""
    match = _OPENER.fullmatch(word)
    if match is None:
        return None
    number, dash, delimiter = match.groups()
    if not delimiter:
        return None
    try:
        _, plain = Lexer(delimiter, {}, keep_unset=True).run()
        _, quoted = Lexer(delimiter, {}, raw_quotes=True, raw_escapes=True, keep_unset=True).run()
    except ExpansionError:
        return None
    if len(plain) != 1:
        return None
    descriptor = int(number[:_MAX_DESCRIPTOR_DIGITS] or 0)
    return Heredoc(plain[0], "", expand=plain == quoted, strip_tabs=bool(dash), descriptor=descriptor)
