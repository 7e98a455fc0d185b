"""Printing what became of every message of ``bus_chaos``, as a table and a few sentences."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from benchmarks.chaos_judge import LIVING_BAR

if TYPE_CHECKING:
    from benchmarks.bus_chaos import Chaos  # it prints with this file


def print_chaos(done: "Chaos", title: str) -> None:
    """Print the account as a table."""
    verdict, counts = done.verdict, done.verdict.counts
    lines = [title, "=" * len(title)]
    lines.append(f"{'':28}{'at most once':>14}{'at least once':>15}")
    for name in (
        "sent",
        "delivered",
        "delivered and a dead letter",
        "dead only",
        "lost with its sender",
        "lost with its receiver",
    ):
        lines.append(f"{name:28}{_number(counts, name, 'p'):>14}{_number(counts, name, 'k'):>15}")
    reasons = sorted({each.split()[1] for each in (*verdict.dead,)})
    for reason in reasons:
        row = [f"{verdict.dead[f'{kind} {reason}']:,}" for kind in "pk"]
        lines.append(f"dead letters: {reason:14}{row[0]:>14}{row[1]:>15}")
    for error in sorted({each.split()[1] for each in verdict.refused}):
        row = [f"{verdict.refused[f'{kind} {error}']:,}" for kind in "pk"]
        lines.append(f"send raised {error:16}{row[0]:>14}{row[1]:>15}")
    sent = counts["sent p"] + counts["sent k"]
    lines.append(
        f"{done.seconds:.0f} s, {sent / done.seconds:,.0f} messages a second (those killed send nothing until they are "
        f"back), {counts['kills']} processes killed; "
        f"settled {done.settle_s:.1f} s after the last message"
    )
    lines.append(
        f"seen twice: {counts['seen twice']:,}, of these {counts['seen twice, process died between']:,} because the "
        "process died between handling and acknowledging"
    )
    lines.append(
        f"mail for living receivers: {counts['to living receivers']:,}, {verdict.living_ratio:.2%} handled "
        f"(bar {LIVING_BAR:.0%})"
    )
    for name, examples in verdict.faults.items():
        lines.append(f"FAULT: {name}: {counts[name]:,}")
        lines.extend(f"    {example}" for example in examples)
    if not verdict.faults:
        lines.append("no fault: at least once, acknowledged to its sender = delivered + dead letters")
    sys.stdout.write("\n".join(lines) + "\n")


def _number(counts: Mapping[str, int], name: str, kind: str) -> str:
    return f"{counts[f'{name} {kind}']:,}"
