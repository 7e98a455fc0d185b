"""``zejzl performance``: how much mail flows and how fast, over all machines."""

import sys
import time
from typing import Annotated, Final

import orjson
import typer
from pydantic import ValidationError
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from zejzl_ray.cli.console import output, print_json, printable
from zejzl_ray.cli.gateway import AsJson, invalid
from zejzl_ray.contracts.observability_hub import SERVICE
from zejzl_ray.contracts.performance import (
    MAX_ROWS,
    GetPerformance,
    GroupBy,
    Performance,
    PerformanceRow,
    Times,
    Window,
)
from zejzl_ray.contracts.services import BY_SERVICE
from zejzl_ray.errors import DeadlineExceeded, Unavailable, ZejzlError
from zejzl_ray.sdk.client import Client
from zejzl_ray.sdk.connect import connect

_GET: Final = BY_SERVICE[SERVICE]["get_performance"]
_SPANS: Final = {
    Window.MINUTE: "last minute",
    Window.TEN_MINUTES: "last 10 minutes",
    Window.START: "since the hub began",
}
_FIGURES: Final = ("sent/s", "received/s", "p50 ms", "p95 ms", "p99 ms", "handler p95 ms", "failed", "lost")


def performance(
    agent: Annotated[str, typer.Option(help="Only this agent.")] = "",
    message_type: Annotated[str, typer.Option("--type", help="Only messages of this type.")] = "",
    machine: Annotated[str, typer.Option(help="Only agents on this machine.")] = "",
    by: Annotated[GroupBy, typer.Option(help="What makes a row.")] = GroupBy.AGENT,
    window: Annotated[Window, typer.Option(help="Which time.")] = Window.MINUTE,
    limit: Annotated[int, typer.Option("-n", min=1, max=MAX_ROWS, help="How many rows.")] = 50,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C.")] = False,
    every_s: Annotated[
        float, typer.Option("--every", min=0.5, max=60, help="Seconds between two looks.")
    ] = 2.0,
    as_json: AsJson = False,
) -> None:
    """Show messages per second and latencies, the busiest first.

    Latency is the time from send to receive; quantiles are within 5 %. "lost" counts dead letters and messages that
    gave way to others.
    """
    try:
        request = GetPerformance(
            window=window, by=by, agent=agent, message_type=message_type, machine=machine, limit=limit
        )
    except ValidationError as error:
        raise invalid(error) from None
    with connect() as client:
        if not watch:
            found = _read(client, request)
            if as_json:
                print_json(found.model_dump(mode="json"))
            else:
                output.print(picture(found, by))
        elif as_json:
            _watch_json(client, request, every_s)
        else:
            _watch(client, request, every_s)


def picture(found: Performance, by: GroupBy) -> Group:
    """Return what is shown: a table, and lines on what is wrong."""
    names = _names(by)
    table = Table(
        title=f"mail, {_SPANS[found.window]} ({found.seconds:.0f} s)",
        title_justify="left",
        header_style="bold",
    )
    for name in names:
        table.add_column("type" if name == "message_type" else name)
    for figure in _FIGURES:
        table.add_column(figure, justify="right")
    for row in found.rows:
        table.add_row(*(Text(printable(getattr(row, name))) for name in names), *_cells(row))
    if found.rows:
        table.add_section()
        table.add_row(Text("all"), *[""] * (len(names) - 1), *_cells(found.total))
    return Group(table, *(Text(line, style) for line, style in _notes(found)))


def _notes(found: Performance) -> list[tuple[str, str]]:
    notes: list[tuple[str, str]] = []
    if not found.hosts:
        notes.append(("no host of agents has reported yet", "yellow"))
    if found.rows_left_out:
        notes.append((f"{found.rows_left_out} more rows: raise -n or filter", ""))
    if found.folded:
        notes.append((f"{found.folded} times a series was counted as (other): there are too many", "yellow"))
    silent = [host.host for host in found.hosts if host.is_silent]
    if silent:
        notes.append((f"silent for a minute: {', '.join(silent)}", "yellow"))
    for each in found.bottlenecks:
        what = f"{each.agent} {each.message_type}".strip()
        notes.append((f"bottleneck: {what}: {each.reason} (impact {each.impact:.0f} %)", "red"))
    return [(printable(line), style) for line, style in notes]


def _names(by: GroupBy) -> tuple[str, ...]:
    match by:
        case GroupBy.AGENT:
            return ("agent",)
        case GroupBy.TYPE:
            return ("message_type",)
        case GroupBy.MACHINE:
            return ("machine",)
        case GroupBy.SERIES:
            return ("machine", "agent", "message_type")


def _cells(row: PerformanceRow) -> tuple[str, ...]:
    latency, handling = row.latency, row.handling
    return (
        f"{row.sent_per_s:.1f}",
        f"{row.received_per_s:.1f}",
        _ms(latency, latency.p50_ms),
        _ms(latency, latency.p95_ms),
        _ms(latency, latency.p99_ms),
        _ms(handling, handling.p95_ms),
        str(row.failed),
        str(row.dead + row.dropped),
    )


def _ms(times: Times, value_ms: float) -> str:
    return f"{value_ms:.3g}" if times.count else ""


def _read(client: Client, request: GetPerformance) -> Performance:
    reply = client.call(_GET, request)
    if not isinstance(reply, Performance):
        raise ZejzlError(f"The answer is a {type(reply).__name__} and no Performance.")
    return reply


def _watch(client: Client, request: GetPerformance, every_s: float) -> None:
    with Live(console=output, auto_refresh=False) as live:
        while True:
            try:
                shown = picture(_read(client, request), request.by)
            except (Unavailable, DeadlineExceeded) as error:  # it may come back
                shown = Group(Text(printable(error.message), "red"))
            live.update(shown, refresh=True)
            _pause(every_s)


def _watch_json(client: Client, request: GetPerformance, every_s: float) -> None:
    while True:
        sys.stdout.write(orjson.dumps(_read(client, request).model_dump(mode="json")).decode() + "\n")
        sys.stdout.flush()
        _pause(every_s)


def _pause(seconds: float) -> None:
    time.sleep(seconds)
