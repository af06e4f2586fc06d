"""When a container is started again by itself: Docker's policies and its back-off.

The pause before a start doubles from 100 ms to a minute, and is 100 ms again after a run of ten seconds.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FIRST, _LONGEST = 0.1, 60.0
_LONG_RUN_NS = 10_000_000_000


class Restart:
    """One container's policy.

    Attributes
    ----------
    count
        How often it was started again.
    """

    def __init__(self, policy: dict[str, Any], count: int = 0) -> None:
        self._name: str = policy["name"]
        self._most: int = policy.get("most") or 0
        self._pause = 0.0
        self.count = count

    def pause_after(self, status: dict[str, Any], *, anyway: bool = False) -> float | None:
        """Seconds to wait before the next start, or None: it is not started again, unless it is to be ``anyway``."""
        if status["finished_at"] - status["started_at"] >= _LONG_RUN_NS:
            self._pause = 0.0
        self._pause = min(self._pause * 2, _LONGEST) if self._pause else _FIRST
        if not (anyway or self._wants(status["code"])):
            return None
        self.count += 1
        return self._pause

    def _wants(self, code: int) -> bool:
        if self._name == "on-failure":
            return code != 0 and (not self._most or self.count < self._most)
        return self._name in {"always", "unless-stopped"}
