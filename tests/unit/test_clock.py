"""The clock of the machine, and the one that tests move."""

import time

import pytest

from zejzl_ray.clock import SystemClock
from zejzl_ray.testing import ManualClock


def test_the_system_clock_tells_wall_time_and_a_time_that_never_goes_back() -> None:
    clock = SystemClock()
    before_s, before_monotonic_s = time.time(), time.monotonic()
    assert clock.now_s() >= before_s
    assert clock.monotonic_s() >= before_monotonic_s


def test_the_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(100.0)
    assert (clock.now_s(), clock.monotonic_s()) == (100.0, 100.0)
    clock.advance(2.5)
    assert (clock.now_s(), clock.monotonic_s()) == (102.5, 102.5)


def test_the_manual_clock_does_not_go_back() -> None:
    clock = ManualClock()
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)
