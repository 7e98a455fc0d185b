"""Figures of mail: every number in its place, and never more than so many places."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from zejzl_ray.metrics.counters import OTHER, Counters
from zejzl_ray.metrics.figures import FiguresSnapshot, MailFigures, since
from zejzl_ray.metrics.mail_series import MailSeries


def test_a_series_is_found_again_however_it_is_asked_for() -> None:
    figures = MailFigures()
    series = figures.of("nlu", "task")
    assert figures.by_agent["nlu"]["task"] is series
    assert figures.agent("nlu")["task"] is series
    assert figures.of("nlu", "other") is not series


def test_totals_and_latencies_by_type_are_over_all_agents() -> None:
    figures = MailFigures()
    for agent, seconds in (("a", 0.001), ("b", 0.003)):
        series = figures.of(agent, "task")
        series.sent[1] += 2
        series.received += 1
        series.failed += 1
        series.latency.record(seconds)
    figures.of("a", "idle").dead += 1
    figures.of("a", "idle").dropped += 4
    totals = figures.totals()
    assert (totals.sent, totals.received, totals.failed, totals.dead, totals.dropped) == (4, 2, 2, 1, 4)
    assert figures.latency_by_type() == {"task": {"count": 2, "avg_ms": 2.0, "min_ms": 1.0, "max_ms": 3.0}}
    assert figures.latency().count == 2


def test_series_above_the_bound_are_one_and_are_counted() -> None:
    figures = MailFigures(max_series=3)
    for number in range(10):
        figures.of(f"agent{number}", "task").received += 1
    assert figures.folded == 7
    assert len(figures.series()) == 4
    assert figures.of("agent99", "task").received == 7
    assert dict(figures.series())[(OTHER, OTHER)].received == 7
    assert figures.totals().received == 10


def test_types_above_the_bound_of_a_known_agent_are_folded_too() -> None:
    figures = MailFigures(max_series=2)
    for number in range(5):
        figures.of("nlu", f"type{number}").received += 1
    assert [key for key, _ in figures.series()] == [("nlu", "type0"), ("nlu", "type1"), (OTHER, OTHER)]
    assert len(figures.agent("nlu")) == 2


def test_agents_that_are_gone_make_room_and_stay_in_the_sums() -> None:
    figures = MailFigures(max_series=2)
    for number in range(20):
        series = figures.of(f"agent{number}", "task")
        series.received += 1
        series.latency.record(0.001)
        figures.close_agent(f"agent{number}")
        figures.close_agent("nobody")
    assert figures.folded == 0
    assert figures.totals().received == 20
    assert figures.latency_by_type()["task"]["count"] == 20
    assert figures.by_type()["task"].received == 20


def test_an_agent_that_comes_back_keeps_its_series() -> None:
    figures = MailFigures(max_series=2)
    series = figures.agent("nlu")["task"]
    figures.close_agent("nlu")
    assert figures.agent("nlu")["task"] is series
    figures.of("b", "task")
    figures.of("c", "task")
    assert figures.of("nlu", "task") is series


def test_types_of_agents_that_are_gone_are_bounded() -> None:
    figures = MailFigures(max_series=2)
    for number in range(9):
        figures.of(f"agent{number}", f"type{number}").received += 1
        figures.close_agent(f"agent{number}")
    assert figures.totals().received == 9
    assert len(figures.by_type()) <= 5


steps = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from(["task", "result"]),
        st.sampled_from(["sent", "received", "failed", "dead", "dropped", "latency", "handling", "look"]),
    )
)


@given(steps)
@settings(max_examples=60)
def test_the_differences_between_looks_add_up_to_everything(actions: list[tuple[str, str, str]]) -> None:
    figures, seen, expected = MailFigures(), FiguresSnapshot(), Counter[tuple[str, str, str]]()
    added: dict[tuple[str, str], MailSeries] = {}

    def look() -> None:
        nonlocal seen
        now = figures.snapshot(seen)
        for key, series in since(now, seen).series.items():
            assert not series.is_empty()
            added.setdefault(key, MailSeries()).add(series)
        seen = now

    for agent, message_type, what in actions:
        series = figures.of(agent, message_type)
        match what:
            case "look":
                look()
                continue
            case "sent":
                series.sent[0] += 1
            case "latency" | "handling":
                getattr(series, what).record(0.01)
            case _:
                setattr(series, what, getattr(series, what) + 1)
        expected[agent, message_type, what] += 1
    look()
    found = Counter[tuple[str, str, str]]()
    for (agent, message_type), series in added.items():
        numbers = {
            "sent": series.sent_total,
            "received": series.received,
            "failed": series.failed,
            "dead": series.dead,
            "dropped": series.dropped,
            "latency": series.latency.count,
            "handling": series.handling.count,
        }
        found.update({(agent, message_type, name): number for name, number in numbers.items() if number})
    assert found == expected
    assert not since(figures.snapshot(seen), seen).series


def test_a_snapshot_stands_still_and_shares_what_did_not_change() -> None:
    figures = MailFigures()
    figures.of("a", "task").received += 1
    figures.of("b", "task").received += 1
    first = figures.snapshot()
    figures.of("a", "task").received += 1
    second = figures.snapshot(first)
    assert first.series["a", "task"].received == 1
    assert second.series["b", "task"] is first.series["b", "task"]
    assert list(since(second, first).series) == [("a", "task")]


def test_a_series_that_began_anew_is_new_as_a_whole() -> None:
    old, new = MailSeries(), MailSeries()
    old.received = 5
    new.received = 2
    new.latency.record(0.1)
    window = new.minus(old)
    assert (window.received, window.latency.count) == (2, 1)


def test_events_are_counted_by_label_and_their_differences_are_told() -> None:
    figures = MailFigures()
    figures.events.add("bus_dropped_total", "full")
    first = figures.snapshot()
    figures.events.add("bus_dropped_total", "full", 2)
    figures.events.add("deadlocks_total")
    assert since(figures.snapshot(first), first).events == {
        ("bus_dropped_total", "full"): 2,
        ("deadlocks_total", ""): 1,
    }
    assert since(first, None).events == {("bus_dropped_total", "full"): 1}


def test_labels_and_names_of_counters_are_bounded() -> None:
    counters = Counters(max_labels=2, max_names=1)
    for label in "abcd":
        counters.add("x", label)
    counters.add("y")
    assert counters.values() == {("x", "a"): 1, ("x", "b"): 1, ("x", OTHER): 2}
    assert (counters.value("x"), counters.value("x", "a"), counters.value("y")) == (4, 1, 0)
