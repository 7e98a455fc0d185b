"""The resident memory of processes over time: sampled, judged, drawn."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

MB: Final = 1e6
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


def draw(
    lines: Sequence[MemoryLine], is_ours: Callable[[MemoryLine], bool], since_s: float, path: Path
) -> None:
    """Write a picture: above all processes, below what those of the project grew by since ``since_s``.

    Args:
        lines: of all processes; those that are not the project's are grey.
        is_ours: which are.
        since_s: from where on growth counts, seconds.
        path: of the picture.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (whole, growth) = pyplot.subplots(2, 1, figsize=(10, 9), sharex=True)
    has_grey = False
    for line in sorted(lines, key=is_ours):  # the project's last, above the others
        minutes = [at_s / 60 for at_s in line.at_s]
        sizes = [size / MB for size in line.resident_bytes]
        if not is_ours(line):
            label = None if has_grey else "Ray's own, and this benchmark"
            whole.plot(minutes, sizes, color="0.8", linewidth=1, label=label)
            has_grey = True
            continue
        (drawn,) = whole.plot(minutes, sizes, label=line.name, linewidth=1.5)
        late = [size for at_s, size in zip(line.at_s, sizes, strict=True) if at_s >= since_s]
        if late:
            start = statistics.median(late[:_WINDOW])
            growth.plot(
                minutes[-len(late) :], [size - start for size in late], color=drawn.get_color(), linewidth=1.5
            )
    growth.axhline(1, color="red", linestyle="--", linewidth=1, label="bar")
    for axes, title in (
        (whole, "resident memory, MB"),
        (growth, f"growth since minute {since_s / 60:.0f}, MB"),
    ):
        axes.set_ylabel(title)
        axes.grid(visible=True, alpha=0.3)
        axes.legend(fontsize=8, loc="best")
    whole.axvline(since_s / 60, color="0.5", linestyle=":", linewidth=1)
    growth.set_xlabel("minutes")
    figure.savefig(path, dpi=110, bbox_inches="tight")
    pyplot.close(figure)
