"""Printing what a benchmark found: one row a figure, with quartiles, against a bar and a named baseline.

Every benchmark of this folder uses it, so that their tables and their ``--json`` output look alike.
"""

import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

Sense = Literal["at least", "at most"]


@dataclass(frozen=True, slots=True)
class Quartiles:
    """Spread of a series. ``worst`` is the largest value where less is better, else the smallest."""

    median: float
    first: float
    third: float
    worst: float
    count: int


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Attributes:
        name: what was measured.
        unit: unit of the figure, such as ``x`` for a ratio or ``MiB``.
        values: the spread over the repetitions.
        baseline: what it is compared with, in words; empty for an absolute figure.
        bar: the value that the median has to reach; None where none is set.
        sense: whether the bar is a floor or a ceiling.
        note: one remark, for example the absolute times behind a ratio.
    """

    name: str
    unit: str
    values: Quartiles
    baseline: str = ""
    bar: float | None = None
    sense: Sense = "at most"
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the median reaches the bar; None without one."""
        if self.bar is None:
            return None
        return self.values.median <= self.bar if self.sense == "at most" else self.values.median >= self.bar


def spread(values: Sequence[float], sense: Sense = "at most") -> Quartiles:
    """Return median, quartiles and worst of at least one value."""
    ordered = sorted(values)
    first, median, third = (
        statistics.quantiles(ordered, n=4, method="inclusive") if len(ordered) > 1 else (ordered[0],) * 3
    )
    worst = ordered[-1] if sense == "at most" else ordered[0]
    return Quartiles(median, first, third, worst, len(ordered))


def interleaved_ratios(
    first: Callable[[], float], second: Callable[[], float], pairs: int
) -> tuple[list[float], list[float], list[float]]:
    """Measure two things turn by turn, so that a busy machine slows both.

    The order within a pair alternates.

    Args:
        first: measures once and returns the time.
        second: likewise; the divisor.
        pairs: how many times each is measured.

    Returns:
        The ratios first / second, and the times of each.
    """
    firsts: list[float] = []
    seconds: list[float] = []
    for turn in range(pairs):
        if turn % 2:
            seconds.append(second())
            firsts.append(first())
        else:
            firsts.append(first())
            seconds.append(second())
    return [one / other for one, other in zip(firsts, seconds, strict=True)], firsts, seconds


def print_rows(title: str, rows: Sequence[Row], *, is_json: bool) -> bool:
    """Print all rows as a table, or as one JSON document.

    Returns:
        False when a median misses its bar.
    """
    is_all_met = all(row.is_met is not False for row in rows)
    if is_json:
        entries = [{**asdict(row), "is_met": row.is_met} for row in rows]
        sys.stdout.write(json.dumps({"title": title, "rows": entries}, indent=2) + "\n")
        return is_all_met
    lines = [title, "=" * len(title)]
    for row in rows:
        values = row.values
        verdict = {None: "", True: "met", False: "MISSED"}[row.is_met]
        bar = f"bar {row.sense} {row.bar:g} {row.unit}: {verdict}" if row.bar is not None else ""
        lines.append(f"{row.name}")
        lines.append(
            f"    median {values.median:.3g} {row.unit}   quartiles {values.first:.3g} to {values.third:.3g}   "
            f"worst {values.worst:.3g}   n={values.count}   {bar}".rstrip()
        )
        if row.baseline:
            lines.append(f"    against: {row.baseline}")
        if row.note:
            lines.append(f"    {row.note}")
    sys.stdout.write("\n".join(lines) + "\n")
    return is_all_met
