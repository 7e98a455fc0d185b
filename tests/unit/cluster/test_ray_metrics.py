"""Figures handed to Ray: differences for its counters, values for its gauges."""

import asyncio
import contextlib

import pytest
from ray.util.metrics import Counter

from zejzl_ray.cluster.ray_metrics import RayMetricsExport
from zejzl_ray.metrics.figures import MailFigures
from zejzl_ray.metrics.readings import ProcessReadings

Tags = tuple[tuple[str, str], ...]


class Meter:
    """Stands for Ray's counter and gauge; refuses what they refuse."""

    def __init__(self, ray: "Ray", name: str, labels: tuple[str, ...]) -> None:
        self.ray, self.name, self.labels = ray, name, labels

    def inc(self, value: int | float, tags: dict[str, str]) -> None:
        assert value > 0
        self._store(self.ray.counters, tags, value)

    def set(self, value: int | float, tags: dict[str, str]) -> None:
        self.ray.gauges.pop((self.name, tuple(tags.items())), None)
        self._store(self.ray.gauges, tags, value)

    def _store(self, values: dict[tuple[str, Tags], float], tags: dict[str, str], value: float) -> None:
        assert tuple(tags) == self.labels
        key = (self.name, tuple(tags.items()))
        values[key] = values.get(key, 0) + value


class Ray:
    def __init__(self) -> None:
        self.counters: dict[tuple[str, Tags], float] = {}
        self.gauges: dict[tuple[str, Tags], float] = {}
        self.made: list[str] = []
        self.trouble: list[Exception] = []

    def meter(self, name: str, text: str, labels: tuple[str, ...]) -> Meter:
        if self.trouble:
            raise self.trouble.pop()
        assert text
        self.made.append(name)
        return Meter(self, name, labels)


@pytest.fixture
def ray() -> Ray:
    return Ray()


def export_of(ray: Ray, figures: MailFigures, readings: list[ProcessReadings]) -> RayMetricsExport:
    return RayMetricsExport(
        figures, lambda: readings[-1], host="h1", new_counter=ray.meter, new_gauge=ray.meter
    )


def test_each_message_is_counted_once_over_many_exports(ray: Ray) -> None:
    figures = MailFigures()
    export = export_of(ray, figures, [ProcessReadings()])
    for _ in range(3):
        series = figures.of("nlu", "task")
        series.sent[0] += 2
        series.received += 1
        series.latency.record(0.25)
        figures.events.add("bus_dropped_total", "full")
        export.export()
    export.export()
    assert ray.counters["bus_messages_total", (("type", "task"), ("priority", "high"))] == 6
    assert ray.counters["bus_received_total", (("type", "task"),)] == 3
    assert ray.counters["bus_dropped_total", (("reason", "full"),)] == 3
    assert ray.counters["bus_delivery_latency_seconds_count", (("type", "task"),)] == 3
    assert ray.counters["bus_delivery_latency_seconds_sum", (("type", "task"),)] == pytest.approx(0.75)
    assert len(ray.made) == len(set(ray.made))


def test_quantiles_are_of_the_last_period(ray: Ray) -> None:
    figures = MailFigures()
    export = export_of(ray, figures, [ProcessReadings()])
    for seconds in (1.0, 0.0, 0.002):
        figures.of("nlu", "task").latency.record(seconds)
        export.export()
    labels = (("type", "task"), ("quantile", "0.95"), ("host", "h1"))
    assert ray.gauges["bus_delivery_latency_seconds", labels] == pytest.approx(0.002, rel=0.1)


def test_gauges_of_what_is_gone_fall_to_zero(ray: Ray) -> None:
    readings = [ProcessReadings({"a": 3}, 1, {"a": "running"})]
    export = export_of(ray, MailFigures(), readings)
    export.export()
    depth = ("bus_queue_depth", (("agent", "a"), ("host", "h1")))
    running = ("agent_state", (("agent", "a"), ("state", "running"), ("host", "h1")))
    assert (ray.gauges[depth], ray.gauges[running]) == (3, 1)
    assert ray.gauges["bus_pending_requests", (("host", "h1"),)] == 1
    readings.append(ProcessReadings({}, 0, {"a": "stopped"}))
    export.export()
    assert (ray.gauges[depth], ray.gauges[running]) == (0, 0)
    assert ray.gauges["agent_state", (("agent", "a"), ("state", "stopped"), ("host", "h1"))] == 1


async def test_an_export_that_fails_does_not_end_the_loop(ray: Ray) -> None:
    figures = MailFigures()
    ray.trouble = [RuntimeError("Ray is away"), RuntimeError("Ray is away")]
    export = export_of(ray, figures, [ProcessReadings()])
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise asyncio.CancelledError

    figures.of("a", "t").received += 1
    with contextlib.suppress(asyncio.CancelledError):
        await export.run(sleep=sleep)
    assert slept == [5.0, 5.0, 5.0]
    assert ray.gauges


def test_ray_takes_all_names_and_labels() -> None:
    figures = MailFigures()
    series = figures.of("nlu", "task")
    series.sent[0] += 1
    series.latency.record(0.1)
    series.handling.record(0.1)
    figures.events.add("deadlocks_total")
    made: dict[str, Counter] = {}

    def counter(name: str, text: str, labels: tuple[str, ...]) -> Counter:
        made[name] = Counter(name, text, labels)
        return made[name]

    readings = ProcessReadings({"nlu": 1}, 1, {"nlu": "running"}, {"nlu": 1.0})
    RayMetricsExport(figures, lambda: readings, host="h1", new_counter=counter).export()
    assert made["bus_messages_total"].info["tag_keys"] == ("type", "priority")
    assert made.keys() > {"deadlocks_total", "bus_handling_seconds_count"}
