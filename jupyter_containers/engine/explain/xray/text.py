"""Text that comes from a container, made harmless for terminals."""

from __future__ import annotations

import os


def visible(text: str) -> str:
    r"""A text with everything a terminal could take for a command written out: ``\x1b``."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escape(character) for character in text)


def _escape(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))
