"""Figures as Prometheus text, read back by the library's own parser."""

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from zejzl_ray.metrics.counters import OTHER
from zejzl_ray.metrics.figures import MailFigures
from zejzl_ray.metrics.prometheus_text import CONTENT_TYPE, MailCollector, prometheus_text
from zejzl_ray.metrics.readings import MAX_TYPES, ProcessReadings

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: bytes) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_counters_gauges_and_histograms_can_be_read_back() -> None:
    figures = MailFigures()
    series = figures.of("nlu", "task")
    series.sent[0] += 3
    series.sent[2] += 1
    series.received += 2
    series.failed += 1
    series.latency.record(0.5e-6)
    series.latency.record(0.002)
    figures.events.add("bus_dropped_total", "full", 5)
    figures.events.add("deadlocks_total")
    figures.events.add("something_else")
    readings = ProcessReadings({"nlu": 7}, 2, {"nlu": "running"}, {"nlu": 1.5})
    found = parsed(prometheus_text(figures, lambda: readings))
    assert found["bus_messages_total", (("priority", "high"), ("type", "task"))] == 3
    assert found["bus_messages_total", (("priority", "low"), ("type", "task"))] == 1
    assert found["bus_received_total", (("type", "task"),)] == 2
    assert found["bus_failed_total", (("type", "task"),)] == 1
    assert found["bus_dropped_total", (("reason", "full"),)] == 5
    assert found["deadlocks_total", ()] == 1
    assert found["bus_queue_depth", (("agent", "nlu"),)] == 7
    assert found["bus_pending_requests", ()] == 2
    assert found["agent_state", (("agent", "nlu"), ("state", "running"))] == 1
    assert found["agent_heartbeat_age_seconds", (("agent", "nlu"),)] == 1.5
    assert found["bus_delivery_latency_seconds_count", (("type", "task"),)] == 2
    assert found["bus_delivery_latency_seconds_bucket", (("le", "1e-06"), ("type", "task"))] == 1
    assert found["bus_delivery_latency_seconds_bucket", (("le", "+Inf"), ("type", "task"))] == 2
    assert not [name for name, _ in found if name.startswith(("something", "bus_handling_seconds_"))]


def test_names_with_quotes_and_line_ends_come_through_whole() -> None:
    figures = MailFigures()
    name = 'a "quoted" \\ type\nof two lines'
    figures.of("nlu", name).sent[1] += 1
    found = parsed(prometheus_text(figures))
    assert found["bus_messages_total", (("priority", "normal"), ("type", name))] == 1


def test_the_process_tells_its_cpu_memory_and_files() -> None:
    found = parsed(prometheus_text(MailFigures()))
    assert found["process_cpu_seconds_total", ()] > 0
    assert found["process_resident_memory_bytes", ()] > 1_000_000
    assert found["process_open_fds", ()] > 0


def test_buckets_only_grow() -> None:
    figures = MailFigures()
    for power in range(-7, 5):
        figures.of("a", "task").latency.record(3.0 * 10**power)
    buckets = [
        (float(dict(labels)["le"]), value)
        for (name, labels), value in parsed(prometheus_text(figures)).items()
        if name == "bus_delivery_latency_seconds_bucket"
    ]
    values = [value for _, value in sorted(buckets)]
    assert values == sorted(values)
    assert values[-1] == 12
    assert len(values) == len(set(buckets)) > 15


def test_message_types_are_bounded_and_counters_never_go_down() -> None:
    figures = MailFigures()
    collector = MailCollector(figures)
    registry = CollectorRegistry()
    registry.register(collector)
    earlier: dict[tuple[tuple[str, str], ...], float] = {}
    for number in range(MAX_TYPES + 20):
        figures.of("a", f"type{number}").received += number + 1
        family = next(family for family in collector.collect() if family.name == "bus_received")
        values = {tuple(sample.labels.items()): sample.value for sample in family.samples}
        assert all(values.get(labels, 0) >= value for labels, value in earlier.items())
        earlier = values
    assert len(earlier) == MAX_TYPES + 1
    assert earlier[("type", OTHER),] == sum(range(MAX_TYPES + 1, MAX_TYPES + 21))
    assert "text/plain" in CONTENT_TYPE


def test_the_deepest_mailboxes_are_the_ones_named() -> None:
    depths = {f"agent{number}": number for number in range(700)}
    found = parsed(prometheus_text(MailFigures(), lambda: ProcessReadings(queue_depths=depths)))
    named = {dict(labels)["agent"] for name, labels in found if name == "bus_queue_depth"}
    assert len(named) == 500
    assert "agent699" in named
    assert "agent0" not in named
