"""How often something that comes in floods is written down."""

from zejzl_ray.auth.floods import Floods
from zejzl_ray.testing import ManualClock


def test_the_first_ones_are_written_one_by_one_and_the_others_with_their_number() -> None:
    clock = ManualClock()
    floods = Floods(clock, written_whole=3)
    assert [floods.count(("a", "x")) for _ in range(6)] == [1, 1, 1, 0, 0, 0]
    assert floods.count(("b", "x")) == 1
    clock.advance(61)
    assert [floods.count(("a", "x")) for _ in range(4)] == [4, 1, 1, 0]


def test_many_keys_need_bounded_memory() -> None:
    floods = Floods(ManualClock())
    for number in range(1100):
        assert floods.count((str(number), "x")) == 1
    assert len(floods) == 1024
