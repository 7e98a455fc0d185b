"""From reports at different moments to verdicts."""

import pytest

from tests.unit.bus.wait_reports import again, agent, asks, handling, report, ring
from zejzl_ray.bus.deadlock_finder import DeadlockFinder, DeadlockPolicy, describe
from zejzl_ray.contracts.waits import Deadlock, ReportWaits, WaitsReported
from zejzl_ray.errors import Overloaded

NOW = 1000.0


class Hub:
    """A finder that numbers its deadlocks, and all that it said."""

    def __init__(self, policy: DeadlockPolicy | None = None) -> None:
        ids = iter(range(1, 1000))
        self.finder = DeadlockFinder(policy, make_id=lambda: f"d{next(ids)}")
        self.found: list[Deadlock] = []

    def take(self, *reports: ReportWaits, now_s: float = NOW) -> list[WaitsReported]:
        verdicts = [self.finder.observe(each, now_s) for each in reports]
        self.found += [each for verdict in verdicts for each in verdict.found]
        return [verdict.answer for verdict in verdicts]


def test_a_circle_is_found_when_every_host_has_told_it_again_since_it_was_complete() -> None:
    hub, hosts = Hub(), ring(("A", "B", "C"))
    assert [answer.wants_stacks for answer in hub.take(*hosts)] == [False, False, True]
    assert [answer.wants_stacks for answer in hub.take(*again(hosts, 2))] == [True, True, True]
    assert hub.found == []
    hub.take(*again(hosts, 3))
    (found,) = hub.found
    assert found.agents in {("A", "B", "C"), ("B", "C", "A"), ("C", "A", "B")}
    assert set(found.correlation_ids) == {"rAB", "rBC", "rCA"}
    assert set(found.hosts) == {"hA", "hB", "hC"}
    for at, party in enumerate(found.parties):
        assert party.agent == found.agents[at]
        assert party.of == found.agents[(at + 1) % 3]
        assert party.awaits == found.correlation_ids[at]
        assert party.host == f"h{party.agent}"
        assert party.waits_s > 0
    assert found.found_at_s == NOW


def test_one_host_needs_two_reports() -> None:
    hub, hosts = Hub(), ring(("A", "B"), one_host=True)
    (first,) = hub.take(*hosts)
    assert (first.wants_stacks, hub.found) == (True, [])
    (second,) = hub.take(*again(hosts, 2))
    assert len(hub.found) == 1
    assert second.deadlocks == tuple(hub.found)
    assert not second.wants_stacks


def test_the_confirming_reports_bring_the_stacks() -> None:
    hub, (first,) = Hub(), ring(("A", "B"), one_host=True)
    hub.take(first)
    with_stacks = first.model_copy(
        update={
            "sequence": 2,
            "has_stacks": True,
            "agents": tuple(
                each.model_copy(
                    update={
                        "handled": (
                            handling(f"start{each.agent}", *each.handled[0].awaits, stack=f"in {each.agent}"),
                        )
                    }
                )
                for each in first.agents
            ),
        }
    )
    hub.take(with_stacks)
    assert {party.agent: party.stack for party in hub.found[0].parties} == {"A": "in A", "B": "in B"}


def test_a_stack_that_was_told_before_is_kept_while_nothing_changes() -> None:
    hub, (plain,) = Hub(), ring(("A", "A"), one_host=True)
    own = agent("A", handling("startA", "rAA", stack="in A"), queued=("rAA",))
    with_stack = plain.model_copy(update={"agents": (own,), "pending": plain.pending[:1]})
    without = agent("A", handling("startA", "rAA"), queued=("rAA",))
    hub.take(with_stack, with_stack.model_copy(update={"sequence": 2, "agents": (without,)}))
    assert [party.stack for party in hub.found[0].parties] == ["in A"]


def test_a_deadlock_is_told_once_to_each_host_and_the_youngest_request_is_failed_where_it_waits() -> None:
    hub, hosts = Hub(), ring(("A", "B", "C"))
    hub.take(*hosts, *again(hosts, 2))
    answers = dict(zip(("hA", "hB", "hC"), hub.take(*again(hosts, 3)), strict=True))
    later = dict(zip(("hA", "hB", "hC"), hub.take(*again(hosts, 4)), strict=True))
    (found,) = hub.found
    assert found.broken == "rCA"
    told = {host: len(answers[host].deadlocks) + len(later[host].deadlocks) for host in answers}
    assert told == {"hA": 1, "hB": 1, "hC": 1}
    assert [fail.correlation_id for fail in later["hC"].fail] == ["rCA"], "until it is gone from the reports"
    assert later["hC"].fail[0].agents == found.agents
    assert "A waits for B (rAB)" in later["hC"].fail[0].reason
    assert not answers["hA"].fail
    assert not later["hB"].fail
    gone = report("hC", (agent("C", handling("startC")),), (asks("new", "C", "A"),), 5)
    assert hub.take(gone)[0].fail == ()


def test_a_policy_may_leave_the_circle_alone_and_it_is_still_told_once() -> None:
    hub, hosts = Hub(DeadlockPolicy(break_youngest=False)), ring(("A", "B"))
    for sequence in range(1, 8):
        assert all(not answer.fail for answer in hub.take(*again(hosts, sequence)))
    assert [each.broken for each in hub.found] == [""]
    assert describe(hub.found[0]).endswith(".")
    assert "failed" not in describe(hub.found[0])


def test_a_circle_that_was_never_there_as_a_whole_is_not_found() -> None:
    """A waits for B, that ends, then B waits for A: told at different moments it looks like a circle."""
    hub = Hub()
    a_waits = ring(("A", "B"))[0]
    b_waits = ring(("A", "B"))[1]
    a_free = report("hA", (agent("A", handling("startA")),), (asks("else", "A", "Z"),), 2)
    assert hub.take(a_waits, b_waits)[1].wants_stacks, "suspected"
    hub.take(a_free)
    for sequence in range(2, 6):
        hub.take(*again((b_waits,), sequence))
    assert hub.found == []


def test_a_report_that_was_under_way_when_the_circle_closed_proves_nothing() -> None:
    """hA made its second report before B began to wait; its answers show that."""
    hub = Hub()
    a_waits, b_waits = ring(("A", "B"))
    hub.take(a_waits, b_waits)
    hub.take(a_waits.model_copy(update={"sequence": 2, "answered": 0}))
    hub.take(b_waits.model_copy(update={"sequence": 2, "answered": 1}))
    hub.take(a_waits.model_copy(update={"sequence": 3, "answered": 1}))
    assert hub.found == [], "its newest answer was to a report from before"
    hub.take(a_waits.model_copy(update={"sequence": 4, "answered": 3}))
    assert len(hub.found) == 1


def test_the_same_agents_in_the_next_round_are_no_old_circle() -> None:
    """The same waits with another message in the slot: in between A was free."""
    hub, (a_waits, b_waits) = Hub(), ring(("A", "B"))
    for sequence in range(1, 6):
        other = agent("A", handling("startA", "rAB", message=f"m{sequence}"), queued=("rBA",))
        hub.take(
            a_waits.model_copy(update={"sequence": sequence, "agents": (other,)}),
            *again((b_waits,), sequence),
        )
    assert hub.found == []


def test_a_host_that_starts_anew_begins_from_nothing() -> None:
    hub, hosts = Hub(), ring(("A", "B"))
    hub.take(*hosts, *again(hosts, 2))
    restarted = hosts[0].model_copy(update={"boot": "b2", "sequence": 1})
    hub.take(restarted, *again(hosts[1:], 3))
    assert hub.found == []
    hub.take(restarted.model_copy(update={"sequence": 2}), *again(hosts[1:], 4))
    hub.take(restarted.model_copy(update={"sequence": 3}))
    assert len(hub.found) == 1


def test_a_report_that_comes_late_does_not_replace_a_newer_one() -> None:
    hub, hosts = Hub(), ring(("A", "B"))
    free = report("hA", (agent("A", handling("startA")),), (asks("x", "A", "Z"),), 5)
    hub.take(free, *hosts, *again(hosts, 2), *again(hosts, 3))
    assert hub.finder.hosts["hA"].report is free
    assert hub.found == []


def test_what_was_told_long_ago_is_not_believed() -> None:
    hub, hosts = Hub(), ring(("A", "B"))
    hub.take(hosts[0])
    hub.take(hosts[1], now_s=NOW + 3)
    assert hub.finder.stuck == frozenset()
    hub.take(again(hosts, 2)[1], now_s=NOW + 11)
    assert set(hub.finder.hosts) == {"hB"}
    hub.finder.forget(NOW + 100)
    assert not hub.finder.hosts
    assert hub.finder.stuck == frozenset()


def test_a_circle_that_grows_another_one_is_told_once() -> None:
    hub, (one,) = Hub(DeadlockPolicy(break_youngest=False)), ring(("A", "B"), one_host=True)
    hub.take(one, *again((one,), 2))
    full = one.agents[0].model_copy(update={"queued": ("rBA", "rCA")})
    third = agent("C", handling("rBC", "rCA"))
    second = agent("B", handling("startB", "rBA", "rBC"), queued=("rAB",))
    grown = one.model_copy(
        update={
            "agents": (full, second, third),
            "pending": (*one.pending, asks("rBC", "B", "C"), asks("rCA", "C", "A")),
        }
    )
    for sequence in range(3, 7):
        hub.take(grown.model_copy(update={"sequence": sequence}))
    assert len(hub.found) == 1


def test_the_next_circle_of_the_same_agents_is_told_again() -> None:
    hub, (one,) = Hub(), ring(("A", "B"), one_host=True)
    hub.take(one, *again((one,), 2))
    text = one.model_dump_json().replace("rAB", "sAB").replace("rBA", "sBA")
    other = ReportWaits.model_validate_json(text)
    hub.take(*again((other,), 3), *again((other,), 4))
    assert [set(each.correlation_ids) for each in hub.found] == [{"rAB", "rBA"}, {"sAB", "sBA"}]


def test_hosts_are_bounded() -> None:
    hub = Hub(DeadlockPolicy(max_hosts=1))
    hub.take(report("h1", (), ()))
    with pytest.raises(Overloaded, match="1 hosts"):
        hub.take(report("h2", (), ()))
    hub.take(report("h1", (), (), 2))
    hub.take(report("h2", (), ()), now_s=NOW + 60)


def test_with_many_hosts_reports_are_judged_together_from_time_to_time() -> None:
    hub = Hub(DeadlockPolicy(few_hosts=1))
    hosts = ring(("A", "B"))
    hub.take(hosts[0])
    for sequence in range(1, 8):
        hub.take(*again(hosts, sequence))
    assert hub.found == [], "all within the same moment"
    hub.take(*again(hosts, 8), now_s=NOW + 0.2)
    assert len(hub.found) == 1


def test_what_was_told_is_remembered_for_a_bounded_number_of_circles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zejzl_ray.bus.deadlock_finder._KEPT_CIRCLES", 1)
    hub = Hub()
    for number, names in enumerate((("A", "B"), ("C", "D")), start=1):
        (one,) = ring(names, one_host=True)
        hub.take(
            one.model_copy(update={"sequence": 2 * number}),
            one.model_copy(update={"sequence": 2 * number + 1}),
        )
    assert len(hub.found) == 2
    assert len(hub.finder._told) == 1
