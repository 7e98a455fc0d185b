"""How bad figures of a machine are."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from zejzl_ray.contracts.machines import MachineSnapshot


class Severity(IntEnum):
    """A higher number is worse."""

    HEALTHY = 0
    WARNING = 1
    CRITICAL = 2


@dataclass(frozen=True, slots=True)
class Threshold:
    """From where on a figure is bad; both are exceeded, not reached."""

    warning: float
    critical: float

    def judge(self, value: float) -> Severity:
        """Return how bad the value is."""
        if value > self.critical:
            return Severity.CRITICAL
        return Severity.WARNING if value > self.warning else Severity.HEALTHY


# Percent for shares, milliseconds for the response time.
THRESHOLDS: Final = {
    "cpu": Threshold(70, 90),
    "memory": Threshold(80, 95),
    "disk": Threshold(85, 95),
    "gpu_memory": Threshold(90, 98),
    "response_ms": Threshold(2000, 5000),
    "error_percent": Threshold(5, 10),
}
_UNITS: Final = {"response_ms": " ms"}
_WORDS: Final = {
    "cpu": "CPU",
    "memory": "memory",
    "disk": "disk",
    "gpu_memory": "video memory",
    "response_ms": "response time",
    "error_percent": "error rate",
}


@dataclass(frozen=True, slots=True)
class Measured:
    """What the services on the machine measured in the time since the check before.

    Attributes:
        response_s: p95 of their answers; None: nobody measured.
        error_ratio: failed part of their answers, 0 to 1; None: nobody measured.
    """

    response_s: float | None = None
    error_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class MachineCheck:
    """A machine judged at one moment.

    Attributes:
        at_s: wall time.
        figures: name -> value, in percent, ``response_ms`` in milliseconds. What was not measured is absent.
        findings: name -> how bad it is, only of what is not healthy.
    """

    at_s: float
    figures: dict[str, float]
    findings: dict[str, Severity] = field(default_factory=dict)

    @property
    def severity(self) -> Severity:
        """The worst of all."""
        return max(self.findings.values(), default=Severity.HEALTHY)

    def bottlenecks(self) -> list[str]:
        """Return a sentence for each finding, the worst first."""
        worst_first = sorted(self.findings.items(), key=lambda item: -item[1])
        return [
            f"{_WORDS[name]} is {severity.name.lower()}: {shown(name, self.figures[name])}, "
            f"the limit is {shown(name, _limit(name, severity))}"
            for name, severity in worst_first
        ]


def judge(snapshot: MachineSnapshot, measured: Measured) -> MachineCheck:
    """Return how bad a machine is: the worst of its figures counts."""
    figures = {
        "cpu": 100 * snapshot.cpu_busy_ratio,
        "memory": _percent(snapshot.ram_used_mib, snapshot.ram_total_mib),
        "disk": _percent(snapshot.disk_used_mib, snapshot.disk_total_mib),
    }
    cards = [_percent(gpu.vram_used_mib, gpu.vram_total_mib) for gpu in snapshot.gpus if gpu.vram_total_mib]
    if cards:
        figures["gpu_memory"] = max(cards)
    if measured.response_s is not None:
        figures["response_ms"] = 1e3 * measured.response_s
    if measured.error_ratio is not None:
        figures["error_percent"] = 100 * measured.error_ratio
    judged = {name: THRESHOLDS[name].judge(value) for name, value in figures.items()}
    bad = {name: severity for name, severity in judged.items() if severity}
    return MachineCheck(snapshot.taken_at_s, figures, bad)


def shown(name: str, value: float) -> str:
    """Return a figure with its unit."""
    return f"{value:.4g}{_UNITS.get(name, ' %')}"


def word(name: str) -> str:
    """Return what a figure is called in a sentence."""
    return _WORDS[name]


def mean(values: Sequence[float]) -> float:
    """Return the mean; 0 of nothing."""
    return sum(values) / len(values) if values else 0.0


def _limit(name: str, severity: Severity) -> float:
    threshold = THRESHOLDS[name]
    return threshold.critical if severity is Severity.CRITICAL else threshold.warning


def _percent(used: float, total: float) -> float:
    return 100 * used / total if total else 0.0
