"""Noticing that somebody set the wall clock, so that an hour that nobody has lived through ends no lease."""

from typing import Final

from zejzl_ray.clock import Clock

# More than two readings of one process lie apart, and more than a clock is slewed in a second.
TOLERANCE_S: Final = 1.0


class ClockJump:
    """Compares the wall clock with the monotonic one.

    Args:
        clock: both are read from it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_s = clock.now_s() - clock.monotonic_s()

    def read(self) -> tuple[float, float]:
        """Return the wall time, and by how much it was set since the last call: forward or back, or 0.

        Both come from one reading: whoever compares with that time knows of every jump before it.
        """
        now_s = self._clock.now_s()
        before_s, self._ahead_s = self._ahead_s, now_s - self._clock.monotonic_s()
        by_s = self._ahead_s - before_s
        return now_s, by_s if abs(by_s) > TOLERANCE_S else 0.0
