from hypothesis import given
from hypothesis import strategies as st

from zejzl_ray.orchestrator.leases import LeaseTable


def test_a_lease_is_reported_once_when_it_has_run_out() -> None:
    leases = LeaseTable()
    leases.set("A", 10)
    leases.set("B", 20)
    assert leases.take_expired(9.9, 100) == []
    assert leases.take_expired(10, 100) == ["A"]
    assert leases.take_expired(15, 100) == []
    leases.set("A", 18)
    assert leases.take_expired(30, 100) == ["A", "B"]


def test_a_renewed_lease_is_not_reported_at_its_old_end() -> None:
    leases = LeaseTable()
    leases.set("A", 10)
    leases.set("A", 25)
    assert leases.take_expired(20, 100) == []
    assert leases.take_expired(25, 100) == ["A"]


def test_a_dropped_lease_is_never_reported() -> None:
    leases = LeaseTable()
    leases.set("A", 10)
    leases.drop("A")
    leases.drop("A")
    assert leases.take_expired(99, 100) == []
    assert leases.ends() == {}


def test_work_per_tick_is_bounded() -> None:
    leases = LeaseTable()
    for number in range(10):
        leases.set(f"A{number}", 1)
    assert len(leases.take_expired(2, 4)) == 4
    assert len(leases.take_expired(2, 100)) == 6


@given(st.lists(st.tuples(st.sampled_from("ABCD"), st.integers(1, 20)), max_size=40))
def test_expired_leases_are_exactly_those_whose_last_renewal_is_over(renewals: list[tuple[str, int]]) -> None:
    leases = LeaseTable()
    ends: dict[str, int] = {}
    for step, (name, length) in enumerate(renewals):
        ends[name] = max(ends.get(name, 0), step + length)
        leases.set(name, ends[name])
    now = len(renewals) + 5
    assert set(leases.take_expired(now, 1000)) == {name for name, end in ends.items() if end <= now}
