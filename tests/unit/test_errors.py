from __future__ import annotations

import pytest

from jupyter_containers.errors import size_text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (64 << 20, "64 MiB"),
        (3 << 29, "1.5 GiB"),
        ((5 << 20) + 12345, "5.012 MiB"),
        (7 << 40, "7 TiB"),
    ],
)
def test_sizes_in_messages_are_for_people(size: int, text: str) -> None:
    assert size_text(size) == text
