"""Figures of a service that is not there yet."""

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from zejzl_ray.shell.late_collector import LateCollector


def test_it_shows_nothing_until_there_is_something_to_show() -> None:
    registry = CollectorRegistry()
    late = LateCollector()
    registry.register(late)
    assert generate_latest(registry) == b""
    late.source = Gauge("load", "of the service", registry=None)
    assert b"load 0.0" in generate_latest(registry)
