"""A clock that moves only when told."""


class ManualClock:
    """A ``Clock`` for tests.

    Args:
        start_s: wall time at the start, seconds since the epoch.
    """

    def __init__(self, start_s: float = 1_700_000_000.0) -> None:
        self._now_s = start_s

    def now_s(self) -> float:
        """Return the wall time that the test has set."""
        return self._now_s

    def monotonic_s(self) -> float:
        """Return the same value as ``now_s``."""
        return self._now_s

    def advance(self, by_s: float) -> None:
        """Move the clock forward by ``by_s`` seconds, which must not be negative."""
        if by_s < 0:
            raise ValueError("a clock does not go back")
        self._now_s += by_s
