"""Names of all figures that are exported, and their values of a process, with bounded labels."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from zejzl_ray.metrics.counters import OTHER
from zejzl_ray.metrics.mail_series import MailSeries

MAX_TYPES: Final = 100
MAX_AGENTS: Final = 500
PRIORITIES: Final = ("high", "normal", "low")

Labels = tuple[str, ...]
Kind = Literal["counter", "gauge"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure that is exported."""

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...] = ()


MESSAGES: Final = Metric("bus_messages_total", "counter", "messages sent", ("type", "priority"))
RECEIVED: Final = Metric("bus_received_total", "counter", "messages taken out of mailboxes", ("type",))
FAILED: Final = Metric("bus_failed_total", "counter", "messages whose handler raised", ("type",))
DEPTH: Final = Metric("bus_queue_depth", "gauge", "messages in the mailbox", ("agent",))
PENDING: Final = Metric("bus_pending_requests", "gauge", "requests that wait for a reply")
STATE: Final = Metric("agent_state", "gauge", "1 for the state that an agent is in", ("agent", "state"))
HEARTBEAT: Final = Metric("agent_heartbeat_age_seconds", "gauge", "since the last heartbeat", ("agent",))

LATENCY: Final = "bus_delivery_latency_seconds"
LATENCY_TEXT: Final = "from send to receive"
HANDLING: Final = "bus_handling_seconds"
HANDLING_TEXT: Final = "inside the handler"

# Counters of ``MailFigures.events`` that are exported, by name.
EVENTS: Final = {
    metric.name: metric
    for metric in (
        Metric("bus_request_timeouts_total", "counter", "requests without a reply in time", ("target",)),
        Metric("bus_dead_letters_total", "counter", "messages nobody could get", ("reason",)),
        Metric("bus_dropped_total", "counter", "messages that gave way", ("reason",)),
        Metric("deadlocks_total", "counter", "circles of agents that waited for one another"),
        Metric("retries_total", "counter", "calls made again", ("op",)),
        Metric("loop_blocks_total", "counter", "times that the event loop was blocked"),
    )
}


@dataclass(frozen=True, slots=True)
class ProcessReadings:
    """What a process can say now beside the figures of its mail.

    Attributes:
        queue_depths: agent -> messages in its mailbox.
        pending_requests: requests that wait for a reply.
        agent_states: agent -> state, such as ``running``.
        heartbeat_ages_s: agent -> seconds since its heartbeat.
    """

    queue_depths: Mapping[str, int] = field(default_factory=dict)
    pending_requests: int = 0
    agent_states: Mapping[str, str] = field(default_factory=dict)
    heartbeat_ages_s: Mapping[str, float] = field(default_factory=dict)


def counter_values(
    series_by_type: Mapping[str, MailSeries], events: Mapping[tuple[str, str], int]
) -> dict[Metric, dict[Labels, float]]:
    """Return counters by metric and labels; what is 0 is absent."""
    values: dict[Metric, dict[Labels, float]] = {}

    def count(metric: Metric, labels: Labels, number: int) -> None:
        if number:
            of_metric = values.setdefault(metric, {})
            of_metric[labels] = of_metric.get(labels, 0) + number

    for message_type, series in series_by_type.items():
        for priority, number in zip(PRIORITIES, series.sent, strict=True):
            count(MESSAGES, (message_type, priority), number)
        count(RECEIVED, (message_type,), series.received)
        count(FAILED, (message_type,), series.failed)
    for (name, label), number in events.items():
        metric = EVENTS.get(name)
        if metric is not None:
            count(metric, (label,) if metric.labels else (), number)
    return values


def gauge_values(readings: ProcessReadings) -> dict[Metric, dict[Labels, float]]:
    """Return gauges by metric and labels; above 500 agents the deepest mailboxes and oldest heartbeats are named."""
    return {
        DEPTH: _largest(readings.queue_depths),
        PENDING: {(): readings.pending_requests},
        STATE: _states(readings.agent_states),
        HEARTBEAT: _largest(readings.heartbeat_ages_s),
    }


def fold_types(series: Iterable[tuple[str, MailSeries]], named: set[str]) -> dict[str, MailSeries]:
    """Return the series merged by message type, at most 100 of them and ``(other)``.

    Args:
        series: message type and series; a type may come several times.
        named: types that were named before, which stay named; new ones are added while there are fewer than 100.
    """
    merged: dict[str, MailSeries] = {}
    for message_type, each in series:
        if message_type not in named and len(named) < MAX_TYPES:
            named.add(message_type)
        merged.setdefault(message_type if message_type in named else OTHER, MailSeries()).add(each)
    return merged


def _largest(values: Mapping[str, float]) -> dict[Labels, float]:
    first = sorted(values.items(), key=lambda item: (-item[1], item[0]))[:MAX_AGENTS]
    return {(name,): value for name, value in first}


def _states(values: Mapping[str, str]) -> dict[Labels, float]:
    return dict.fromkeys(sorted(values.items())[:MAX_AGENTS], 1.0)
