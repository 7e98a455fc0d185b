import pytest

from zejzl_ray.bus import order_gate
from zejzl_ray.bus.order_gate import OrderGate


def test_without_anything_missing_everything_may_go_in() -> None:
    assert OrderGate().lets_in("h", "a", 5, 0)


def test_what_is_behind_a_missing_message_waits_for_it() -> None:
    gate = OrderGate()
    gate.close("h", "a", 5, 0)
    gate.close("h", "a", 6, 0)
    gate.close("h", "a", 5, 0)
    assert not gate.lets_in("h", "a", 7, 1)
    assert not gate.lets_in("h", "a", 6, 1)
    assert gate.lets_in("h", "a", 4, 1)
    assert gate.lets_in("h", "b", 9, 1)
    assert gate.lets_in("other", "a", 9, 1)
    assert gate.lets_in("h", "a", 5, 1)
    assert not gate.lets_in("h", "a", 7, 1)
    assert gate.lets_in("h", "a", 6, 1)
    assert gate.lets_in("h", "a", 7, 1)


def test_what_does_not_come_is_not_waited_for_longer_than_a_moment() -> None:
    gate = OrderGate()
    gate.close("h", "a", 5, 0)
    gate.close("h", "a", 6, 1)
    assert not gate.lets_in("h", "a", 7, 2.5)
    assert gate.lets_in("h", "a", 7, 3)
    assert gate.lets_in("h", "a", 9, 3)


def test_it_remembers_a_bounded_number_of_outboxes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_gate, "_MOST", 2)
    gate = OrderGate()
    gate.close("h1", "a", 5, 0)
    gate.close("h2", "a", 5, 1.5)
    gate.close("h3", "a", 5, 2.5)  # what is over goes first
    assert not gate.lets_in("h2", "a", 6, 2.5)
    gate.close("h4", "a", 5, 2.6)  # then the oldest
    assert gate.lets_in("h2", "a", 6, 2.6)
    assert not gate.lets_in("h3", "a", 6, 2.6)
