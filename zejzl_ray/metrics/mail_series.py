"""Figures of one agent and one message type."""

from zejzl_ray.metrics.histogram import LatencyHistogram

SeriesKey = tuple[str, str]
"""Agent and message type."""


class MailSeries:
    """Figures of one agent and one message type; whoever handles mail adds to the attributes directly.

    Attributes:
        sent: mail the agent sent, by priority; ``series.sent[message.priority] += 1``.
        received: mail the agent took out of its mailbox.
        failed: mail whose handler raised.
        dead: mail to the agent that became a dead letter.
        dropped: mail to the agent that gave way to other mail.
        latency: from send to receive; ``series.latency.record(seconds)``.
        handling: inside the handler.
    """

    __slots__ = ("dead", "dropped", "failed", "handling", "latency", "received", "sent")

    def __init__(self) -> None:
        self.sent = [0, 0, 0]
        self.received = 0
        self.failed = 0
        self.dead = 0
        self.dropped = 0
        self.latency = LatencyHistogram()
        self.handling = LatencyHistogram()

    @property
    def sent_total(self) -> int:
        """Mail the agent sent, of all priorities."""
        return sum(self.sent)

    def is_empty(self) -> bool:
        """Whether nothing was counted."""
        counted = self.received or self.failed or self.dead or self.dropped or any(self.sent)
        return not (counted or self.latency.count or self.handling.count)

    def is_same(self, other: "MailSeries") -> bool:
        """Whether nothing was counted since ``other`` was copied from this one."""
        return (
            self._numbers() == other._numbers()
            and self.latency == other.latency
            and self.handling == other.handling
        )

    def copy(self) -> "MailSeries":
        """Return a copy that later mail does not change."""
        copy = MailSeries.__new__(MailSeries)
        copy.sent = self.sent.copy()
        copy.received, copy.failed, copy.dead, copy.dropped = (
            self.received,
            self.failed,
            self.dead,
            self.dropped,
        )
        copy.latency, copy.handling = self.latency.snapshot(), self.handling.snapshot()
        return copy

    def add(self, other: "MailSeries") -> None:
        """Add what another one counted."""
        self.sent = [mine + theirs for mine, theirs in zip(self.sent, other.sent, strict=True)]
        self.received += other.received
        self.failed += other.failed
        self.dead += other.dead
        self.dropped += other.dropped
        self.latency.merge(other.latency)
        self.handling.merge(other.handling)

    def minus(self, earlier: "MailSeries") -> "MailSeries":
        """Return what was counted since an earlier copy; all of it, if the series began anew since."""
        if any(now < before for now, before in zip(self._numbers(), earlier._numbers(), strict=True)):
            return self.copy()
        window = MailSeries()
        window.sent = [now - before for now, before in zip(self.sent, earlier.sent, strict=True)]
        window.received = self.received - earlier.received
        window.failed = self.failed - earlier.failed
        window.dead = self.dead - earlier.dead
        window.dropped = self.dropped - earlier.dropped
        window.latency = self.latency.minus(earlier.latency)
        window.handling = self.handling.minus(earlier.handling)
        return window

    def _numbers(self) -> tuple[int, ...]:
        return (*self.sent, self.received, self.failed, self.dead, self.dropped)
