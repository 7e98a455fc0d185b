"""The performance book: what hosts report, added up once, over windows that are what they say."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from zejzl_ray.contracts.observability_hub import OPERATIONS
from zejzl_ray.contracts.performance import (
    Bottleneck,
    BottleneckKind,
    GetPerformance,
    GroupBy,
    Histogram,
    Performance,
    PerformanceReported,
    ReportPerformance,
    Series,
    Window,
)
from zejzl_ray.errors import InvalidInput, Overloaded
from zejzl_ray.metrics.counters import OTHER
from zejzl_ray.metrics.figures import MailFigures
from zejzl_ray.metrics.histogram import LatencyHistogram
from zejzl_ray.observability.performance import PerformanceBook
from zejzl_ray.observability.performance_bottlenecks import AgentStanding
from zejzl_ray.observability.performance_collector import PerformanceCollector
from zejzl_ray.observability.performance_reporter import PerformanceReporter

T0 = 1_700_000_000.0


@pytest.fixture
def book() -> PerformanceBook:
    return PerformanceBook(T0)


def times(*samples: float) -> Histogram:
    histogram = LatencyHistogram()
    for sample in samples:
        histogram.record(sample)
    return Histogram.model_validate(histogram.to_dict())


def report(
    *series: Series,
    host: str = "h1",
    machine: str = "mainpc",
    sequence: int = 1,
    boot: str = "b1",
    span_s: float = 5.0,
) -> ReportPerformance:
    return ReportPerformance(
        host=host, machine=machine, boot=boot, sequence=sequence, from_s=T0 - span_s, at_s=T0, series=series
    )


def one(agent: str = "nlu", message_type: str = "task", received: int = 1, **more: object) -> Series:
    return Series.model_validate({"agent": agent, "message_type": message_type, "received": received, **more})


def ask(book: PerformanceBook, now_s: float, **fields: object) -> Performance:
    return book.get(GetPerformance.model_validate(fields), now_s)


def test_hosts_are_added_up_by_agent_type_and_machine(book: PerformanceBook) -> None:
    book.report(report(one(sent=4, latency=times(0.001, 0.001)), one("asr", received=5)), T0 + 1)
    book.report(report(one(received=2, latency=times(0.1)), host="h2", machine="pc2"), T0 + 10)
    by_agent = ask(book, T0 + 20)
    assert [(row.agent, row.received, row.sent) for row in by_agent.rows] == [("nlu", 3, 4), ("asr", 5, 0)]
    assert by_agent.total.received == 8
    assert by_agent.seconds == 20
    assert by_agent.total.received_per_s == 0.4
    nlu = by_agent.rows[0]
    assert (nlu.latency.count, nlu.latency.max_ms) == (3, 100.0)
    assert nlu.latency.p50_ms == pytest.approx(1, rel=0.05)
    assert nlu.latency.p99_ms == pytest.approx(100, rel=0.05)
    assert {row.machine: row.received for row in ask(book, T0 + 20, by="machine").rows} == {
        "mainpc": 6,
        "pc2": 2,
    }
    assert [row.message_type for row in ask(book, T0 + 20, by="type").rows] == ["task"]
    assert len(ask(book, T0 + 20, by=GroupBy.SERIES).rows) == 3
    only = ask(book, T0 + 20, agent="nlu", machine="pc2", message_type="task")
    assert (only.total.agent, only.total.machine, only.total.received) == ("nlu", "pc2", 2)
    assert ask(book, T0 + 20, agent="unknown").rows == ()
    assert ask(book, T0 + 20, limit=1).rows_left_out == 1


def test_a_repeated_report_counts_once_and_a_new_process_counts_anew(book: PerformanceBook) -> None:
    first = report(one())
    assert book.report(first, T0) == PerformanceReported(sequence=1)
    assert book.report(first, T0) == PerformanceReported(sequence=1, is_repeated=True)
    book.report(report(one(), sequence=2), T0)
    book.report(report(one(), boot="b2"), T0)
    assert ask(book, T0 + 1).total.received == 3


def test_a_report_that_cannot_be_is_refused_as_a_whole(book: PerformanceBook) -> None:
    bad = Histogram(counts={3: 1}, sum_s=1, min_s=2, max_s=1)
    with pytest.raises(InvalidInput, match="nlu/task"):
        book.report(report(one("asr"), one(latency=bad)), T0)
    assert ask(book, T0, window="start").total.received == 0
    book.report(report(one()), T0)
    assert ask(book, T0, window="start").total.received == 1


@given(st.lists(st.tuples(st.floats(0, 60), st.integers(1, 5)), max_size=40))
@settings(max_examples=50)
def test_each_window_holds_what_happened_in_it(gaps: list[tuple[float, int]]) -> None:
    book = PerformanceBook(T0)
    now_s, events = T0, list[tuple[float, int]]()
    for sequence, (gap_s, received) in enumerate(gaps, start=1):
        now_s += gap_s
        book.report(report(one(received=received), sequence=sequence), now_s)
        events.append((now_s, received))
    for window, length_s, slice_s in ((Window.MINUTE, 60, 5), (Window.TEN_MINUTES, 600, 60)):
        found = ask(book, now_s, window=window).total.received
        assert found <= sum(received for at_s, received in events if at_s >= now_s - length_s)
        assert found >= sum(received for at_s, received in events if at_s > now_s - length_s + slice_s)
    assert ask(book, now_s, window=Window.START).total.received == sum(received for _, received in events)


def test_a_silent_host_leaves_the_last_minute_and_later_the_list(book: PerformanceBook) -> None:
    book.report(report(one()), T0 + 1)
    book.report(report(one("asr"), host="h2"), T0 + 59)
    found = ask(book, T0 + 90)
    assert [(host.host, host.is_silent) for host in found.hosts] == [("h1", True), ("h2", False)]
    assert [row.agent for row in found.rows] == ["asr"]
    assert len(ask(book, T0 + 90, window="ten_minutes").rows) == 2
    assert ask(book, T0 + 700).hosts == ()
    assert ask(book, T0 + 700, window="start").total.received == 2


def test_a_report_about_an_outage_is_left_out_of_shorter_windows(book: PerformanceBook) -> None:
    book.report(report(one(received=500), span_s=300), T0)
    book.report(report(one(received=7), span_s=5000, sequence=2), T0)
    received = {window: ask(book, T0, window=window).total.received for window in Window}
    assert received == {Window.MINUTE: 0, Window.TEN_MINUTES: 500, Window.START: 507}


def test_a_clock_that_was_set_back_loses_nothing(book: PerformanceBook) -> None:
    book.report(report(one()), T0 + 100)
    book.report(report(one(), sequence=2), T0 + 40)
    assert ask(book, T0 + 41).total.received == 2
    assert ask(book, T0 + 41).seconds > 0


def test_series_and_hosts_are_bounded() -> None:
    book = PerformanceBook(T0, max_series=3, max_hosts=2)
    book.report(report(*(one(f"agent{number}") for number in range(10))), T0)
    found = ask(book, T0, window="start")
    assert {row.agent: row.received for row in found.rows} == {
        "agent0": 1,
        "agent1": 1,
        "agent2": 1,
        OTHER: 7,
    }
    assert found.folded == 7
    book.report(report(host="h2"), T0)
    with pytest.raises(Overloaded, match="2 hosts"):
        book.report(report(host="h3"), T0)
    book.report(report(host="h3"), T0 + 700)
    assert [host.host for host in book.hosts(T0 + 700)] == ["h3"]


def test_agents_idle_for_an_hour_make_room_and_stay_in_the_sums() -> None:
    book = PerformanceBook(T0, max_series=3)
    book.report(report(one("a"), one("b"), one("busy")), T0)
    book.report(report(one("busy"), sequence=2), T0 + 4000)
    book.report(report(one("new"), sequence=3), T0 + 4001)
    rows = {row.agent: row.received for row in ask(book, T0 + 4001, window="start").rows}
    assert rows == {OTHER: 2, "busy": 2, "new": 1}
    assert ask(book, T0 + 4001, window="start", by="type").rows[0].received == 5


def bottlenecks(
    book: PerformanceBook, now_s: float, agents: dict[str, AgentStanding] | None = None, **fields: object
) -> tuple[Bottleneck, ...]:
    return book.get(GetPerformance.model_validate(fields), now_s, agents).bottlenecks


def test_a_handler_that_slows_down_is_named_against_its_own_expectation(book: PerformanceBook) -> None:
    book.report(report(one(handling=times(*[1.0] * 100))), T0)
    book.report(report(one(handling=times(*[4.0] * 10)), sequence=2), T0 + 300)
    assert bottlenecks(book, T0 + 301) == ()  # below 5 s, and it declares nothing
    expecting = {"nlu": AgentStanding(expected_s=2.0)}
    (found,) = bottlenecks(book, T0 + 301, expecting)
    assert (found.kind, found.agent, found.message_type) == (BottleneckKind.SLOWING, "nlu", "task")
    assert found.impact == 100
    assert found.reason == "takes 4 s now, 1.27 s usually"
    assert bottlenecks(book, T0 + 301, {"nlu": AgentStanding(expected_s=4.0)}) == ()
    assert bottlenecks(book, T0 + 301, expecting, agent="asr") == ()


def test_failures_and_agents_that_are_not_well_are_bottlenecks(book: PerformanceBook) -> None:
    book.report(report(one(failed=4, handling=times(*[0.1] * 10)), one("asr", failed=4)), T0)
    standings = {
        "tts": AgentStanding("degraded"),
        "gone": AgentStanding("lost"),
        "nlu": AgentStanding("healthy"),
    }
    found = bottlenecks(book, T0 + 1, standings)
    assert [(each.kind, each.agent, each.impact) for each in found] == [
        (BottleneckKind.AGENT, "gone", 100),
        (BottleneckKind.AGENT, "tts", 50),
        (BottleneckKind.FAILING, "nlu", 40),
    ]
    assert found[2].reason == "4 of 10 runs failed in the last minute"


def test_an_agent_that_is_degraded_weighs_as_much_as_it_fails(book: PerformanceBook) -> None:
    book.report(report(one(failed=9, handling=times(*[0.1] * 10))), T0)
    found = bottlenecks(book, T0 + 1, {"nlu": AgentStanding("degraded")})
    assert {each.kind: each.impact for each in found} == {
        BottleneckKind.AGENT: 90,
        BottleneckKind.FAILING: 90,
    }


def test_what_a_host_counts_arrives_whole_though_answers_get_lost() -> None:
    chance = random.Random(7)
    figures, book = MailFigures(), PerformanceBook(T0)
    reporter = PerformanceReporter(figures, host="h1", machine="mainpc", boot="b1", now_s=T0)
    sent = 0
    for step in range(200):
        for _ in range(chance.randrange(4)):
            series = figures.of(f"agent{chance.randrange(3)}", "task")
            series.sent[chance.randrange(3)] += 1
            series.latency.record(0.001)
            sent += 1
        now_s = T0 + step
        asked = ReportPerformance.model_validate_json(reporter.next_report(now_s).model_dump_json())
        if chance.random() < 0.3:
            continue  # the report is lost
        reply = book.report(asked, now_s)
        if chance.random() < 0.7:  # else the answer is
            reporter.accepted(reply)
    last = reporter.next_report(T0 + 200)
    reporter.accepted(book.report(last, T0 + 200))
    reporter.accepted(book.report(reporter.next_report(T0 + 201), T0 + 201))
    total = ask(book, T0 + 202, window="start").total
    assert (total.sent, total.latency.count) == (sent, sent)
    idle = reporter.next_report(T0 + 203)
    assert idle.series == ()
    reporter.accepted(PerformanceReported(sequence=1))
    assert reporter.next_report(T0 + 204) is idle


def test_figures_with_more_series_than_a_report_holds_are_refused() -> None:
    with pytest.raises(InvalidInput, match="2000"):
        PerformanceReporter(MailFigures(max_series=2001), host="h", machine="", boot="b", now_s=T0)


def test_a_full_report_is_within_the_bounds_of_the_contract() -> None:
    figures = MailFigures()
    for number in range(2100):
        figures.of(f"agent{number}", "t" * 300).received += 1
    made = PerformanceReporter(figures, host="h", machine="m", boot="b", now_s=T0).next_report(T0)
    assert len(made.series) == 2001
    assert sum(series.received for series in made.series) == 2100


def test_the_page_of_the_hub_tells_of_all_machines(book: PerformanceBook) -> None:
    book.report(report(one(sent=2, failed=1, dead=3, dropped=4, latency=times(0.001, 0.2))), T0)
    book.report(report(one(received=5), host="h2", machine="pc2"), T0 - 100)
    registry = CollectorRegistry()
    registry.register(PerformanceCollector(book, lambda: T0))
    found = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }
    mainpc = (("machine", "mainpc"), ("type", "task"))
    assert found["fleet_messages_total", mainpc] == 2
    assert found["fleet_failed_total", mainpc] == 1
    assert found["fleet_dead_letters_total", mainpc] == 3
    assert found["fleet_dropped_total", mainpc] == 4
    assert found["fleet_received_total", (("machine", "pc2"), ("type", "task"))] == 5
    assert found["fleet_delivery_latency_seconds_count", (("type", "task"),)] == 2
    assert found["fleet_hosts", (("state", "reporting"),)] == 1
    assert found["fleet_hosts", (("state", "silent"),)] == 1


def test_message_types_on_the_page_are_bounded() -> None:
    book = PerformanceBook(T0)
    book.report(report(*(one(message_type=f"type{number}") for number in range(150))), T0)
    collector = PerformanceCollector(book, lambda: T0)
    for _ in range(2):
        received = next(family for family in collector.collect() if family.name == "fleet_received")
        values = {sample.labels["type"]: sample.value for sample in received.samples}
        assert (len(values), values[OTHER]) == (101, 50)


def test_operations_of_the_hub_go_on_while_news_of_revocations_are_late() -> None:
    assert OPERATIONS
    assert [operation.name for operation in OPERATIONS if not operation.is_calm] == []
