"""A clock that moves only when told."""


class ManualClock:
    """A ``Clock`` for tests.

    Args:
        start_s: wall time at the start, seconds since the epoch.
    """

    def __init__(self, start_s: float = 1_700_000_000.0) -> None:
        self._now_s = start_s
        self._set_by_s = 0.0

    def now_s(self) -> float:
        """Return the wall time that the test has set."""
        return self._now_s + self._set_by_s

    def monotonic_s(self) -> float:
        """Return the time that has been advanced; the same as ``now_s`` until ``set_wall`` is called."""
        return self._now_s

    def advance(self, by_s: float) -> None:
        """Move the clock forward by ``by_s`` seconds, which must not be negative."""
        if by_s < 0:
            raise ValueError("a clock does not go back")
        self._now_s += by_s

    def set_wall(self, by_s: float) -> None:
        """Set the wall clock forward or back, as a person or NTP does; no time goes by."""
        self._set_by_s += by_s
