"""At most so many in any window of time, wherever it begins; with bounded memory."""

from collections import deque
from typing import Final

from zejzl_ray.errors import InvalidInput

# Grants are counted by slots of a 120th of the period, and one leaves the window when its whole slot has: a little
# late (less than 1 %), never early.
_SLOTS: Final = 120


class SlidingWindow:
    """A ``Limit`` that never grants more than its limit in any period.

    A bucket of the same size would: full at first and refilled meanwhile, it lets through nearly twice the limit.

    Args:
        limit: most grants in a period.
        period_s: length of the window.
    """

    def __init__(self, limit: int, period_s: float) -> None:
        if limit < 1:
            raise InvalidInput(f"The limit of a period of {period_s:g} s is {limit}.", "Give 1 or more.")
        self.capacity = limit
        self._period_s = period_s
        self._slot_s = period_s / _SLOTS
        # (time when the slot has left the window, grants in it), oldest first
        self._slots: deque[tuple[float, int]] = deque()
        self._used = 0

    def used(self, now_s: float) -> int:
        """Return how many were granted in the period before now."""
        while self._slots and self._slots[0][0] <= now_s:
            self._used -= self._slots.popleft()[1]
        return self._used

    def available(self, now_s: float) -> float:
        """Return how many could be granted now."""
        return float(self.capacity - self.used(now_s))

    def wait_s(self, tokens: int, now_s: float) -> float:
        """Return seconds until so many can be granted; takes nothing."""
        missing = tokens - (self.capacity - self.used(now_s))
        for leaves_at_s, granted in self._slots:
            if missing <= 0:
                break
            missing -= granted
            if missing <= 0:
                return leaves_at_s - now_s
        return 0.0

    def take(self, tokens: int, now_s: float) -> None:
        """Count grants."""
        leaves_at_s = (now_s // self._slot_s + 1) * self._slot_s + self._period_s
        if self._slots and self._slots[-1][0] >= leaves_at_s:
            leaves_at_s, granted = self._slots.pop()
            self._slots.append((leaves_at_s, granted + tokens))
        else:
            self._slots.append((leaves_at_s, tokens))
        self._used += tokens
