"""The resident memory of processes over time: sampled, judged, drawn."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

MIB: Final = 1_048_576
_WINDOW: Final = 6  # samples whose median stands for one moment


@dataclass
class MemoryLine:
    """One process.

    Attributes:
        name: of the process.
        at_s: since the beginning, of each sample.
        resident_bytes: of each sample.
    """

    name: str
    at_s: list[float] = field(default_factory=list)
    resident_bytes: list[int] = field(default_factory=list)

    def growth_bytes(self, since_s: float) -> int:
        """Return how much more there is at the end than at ``since_s``, each the median of a minute.

        0 where there are too few samples to tell.
        """
        late = [size for at_s, size in zip(self.at_s, self.resident_bytes, strict=True) if at_s >= since_s]
        if len(late) < 2 * _WINDOW:
            return 0
        return round(statistics.median(late[-_WINDOW:]) - statistics.median(late[:_WINDOW]))


class MemorySampler:
    """Samples processes by their ids.

    Args:
        names: process id -> name to show.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        self._processes = {pid: psutil.Process(pid) for pid in names}
        self.lines = {pid: MemoryLine(name) for pid, name in names.items()}

    def sample(self, at_s: float) -> list[str]:
        """Take one sample of each; return the names of those that have ended since."""
        ended = []
        for pid, process in list(self._processes.items()):
            line = self.lines[pid]
            try:
                size = process.memory_info().rss
            except psutil.Error:
                del self._processes[pid]
                ended.append(line.name)
                continue
            line.at_s.append(round(at_s, 1))
            line.resident_bytes.append(size)
        return ended


def draw(lines: Sequence[MemoryLine], since_s: float, path: Path) -> None:
    """Write a picture: above all processes, below what those of the project grew by since ``since_s``."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (whole, growth) = pyplot.subplots(2, 1, figsize=(10, 9), sharex=True)
    for line in lines:
        minutes = [at_s / 60 for at_s in line.at_s]
        whole.plot(minutes, [size / MIB for size in line.resident_bytes], label=line.name, linewidth=1)
        late = [size for at_s, size in zip(line.at_s, line.resident_bytes, strict=True) if at_s >= since_s]
        if late:
            start = statistics.median(late[:_WINDOW])
            growth.plot(
                minutes[-len(late) :], [(size - start) / MIB for size in late], label=line.name, linewidth=1
            )
    growth.axhline(1e6 / MIB, color="red", linestyle="--", linewidth=1, label="bar: 1 MB")
    whole.set_ylabel("resident memory, MiB")
    growth.set_ylabel(f"since minute {since_s / 60:.0f}, MiB")
    growth.set_xlabel("minutes")
    whole.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    for axes in (whole, growth):
        axes.grid(visible=True, alpha=0.3)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    pyplot.close(figure)
