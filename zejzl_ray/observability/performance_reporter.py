"""The host's side of performance: reports to the hub, each counted once however often it is sent."""

from zejzl_ray.contracts.performance import Histogram, PerformanceReported, ReportPerformance, Series
from zejzl_ray.errors import InvalidInput
from zejzl_ray.metrics.figures import MAX_SERIES, FiguresSnapshot, MailFigures, since
from zejzl_ray.metrics.histogram import LatencyHistogram
from zejzl_ray.metrics.mail_series import MailSeries, SeriesKey

_MAX_NAME = 256


class PerformanceReporter:
    """Makes the reports of one host.

    Call ``next_report`` every few seconds, send it, and hand the answer to ``accepted``. Until then the same report
    comes again, and what happens meanwhile goes into the one after it, so nothing is lost or counted twice.

    Args:
        figures: of the process.
        host: name of the host.
        machine: where it runs.
        boot: an id of this process, never used before.
        now_s: wall time.

    Raises:
        InvalidInput: the figures have more series than a report may hold.
    """

    def __init__(self, figures: MailFigures, *, host: str, machine: str, boot: str, now_s: float) -> None:
        if figures.max_series > MAX_SERIES:
            raise InvalidInput(
                f"The figures of {host} may have {figures.max_series} series; a report holds {MAX_SERIES}.",
                f"Make MailFigures with at most {MAX_SERIES}.",
            )
        self._figures = figures
        self._host = host
        self._machine = machine
        self._boot = boot
        self._reported = FiguresSnapshot()
        self._reported_at_s = now_s
        self._sequence = 1
        self._waiting: tuple[ReportPerformance, FiguresSnapshot] | None = None

    def next_report(self, now_s: float) -> ReportPerformance:
        """Return the report that was not accepted yet, else a new one; an idle host reports no series."""
        if self._waiting is None:
            snapshot = self._figures.snapshot(self._reported)
            changed = since(snapshot, self._reported)
            report = ReportPerformance(
                host=self._host,
                machine=self._machine,
                boot=self._boot,
                sequence=self._sequence,
                from_s=min(self._reported_at_s, now_s),
                at_s=now_s,
                series=tuple(_on_the_wire(key, series) for key, series in changed.series.items()),
            )
            self._waiting = (report, snapshot)
        return self._waiting[0]

    def accepted(self, reply: PerformanceReported) -> None:
        """Take the hub's answer; one to another report than the last is passed over."""
        if self._waiting is None or reply.sequence != self._waiting[0].sequence:
            return
        report, self._reported = self._waiting
        self._reported_at_s = report.at_s
        self._sequence += 1
        self._waiting = None


def _on_the_wire(key: SeriesKey, series: MailSeries) -> Series:
    agent, message_type = key
    return Series(
        agent=agent[:_MAX_NAME],
        message_type=message_type[:_MAX_NAME],
        sent=series.sent_total,
        received=series.received,
        failed=series.failed,
        dead=series.dead,
        dropped=series.dropped,
        latency=_histogram(series.latency),
        handling=_histogram(series.handling),
    )


def _histogram(histogram: LatencyHistogram) -> Histogram:
    return Histogram.model_validate(histogram.to_dict())
