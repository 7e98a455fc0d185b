"""``zejzl selftest``: one real call through every operation of every service."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Final

import typer
from pydantic import SecretStr
from rich.table import Table
from rich.text import Text

from zejzl_ray.cli.console import output, print_json, printable, say
from zejzl_ray.cli.gateway import AsJson
from zejzl_ray.cluster.record import ClusterRecord, read_record
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.sdk.async_client import AsyncClient
from zejzl_ray.sdk.connect import connect_async
from zejzl_ray.selftest.run import run_trials
from zejzl_ray.selftest.trial import Outcome, Row
from zejzl_ray.settings import Settings, load_settings

_STYLES: Final = {
    Outcome.OK: "green",
    Outcome.REFUSED: "green",
    Outcome.ABSENT: "dim",
    Outcome.LEFT_OUT: "yellow",
    Outcome.FAILED: "bold red",
}


def selftest(as_json: AsJson = False) -> None:
    """Make one real call through every operation of every service, node agent and host of agents.

    Safe on a working system: what is made has names that begin with `selftest-` and is removed again; what would hurt
    is asked for in a way that changes nothing, as the table says. It wants an administrator. Exit code 0 only when
    every answer was the right one.
    """
    settings = load_settings()
    record = read_record(settings.data_path)
    with _on_the_cluster(settings, record) as is_over_handles:
        rows = asyncio.run(_run(is_over_handles))
    if as_json:
        print_json([{**asdict(row), "ms": round(row.ms, 2), "is_well": row.is_well} for row in rows])
    else:
        _show(rows)
    if not all(row.is_well for row in rows):
        raise typer.Exit(1)


async def _run(is_over_handles: bool) -> list[Row]:
    # (over handles, token) -> client; the few identities that a self-test has
    clients: dict[tuple[bool, str], AsyncClient] = {}
    http = _client(False, None)
    clients[False, ""] = http

    async def call(operation: Operation, request: Contract, token: SecretStr | None) -> Contract:
        key = (not operation.path, "" if token is None else token.get_secret_value())
        if key not in clients:
            clients[key] = _client(key[0], token)
        return await clients[key].call(operation, request)

    try:
        return await run_trials(
            call,
            time.time(),
            is_auth_off=lambda: http.is_auth_off,
            is_over_handles=is_over_handles,
            report=lambda service: say(f"  {service}"),
        )
    finally:
        for client in clients.values():
            await client.close()


def _client(is_over_handles: bool, token: SecretStr | None) -> AsyncClient:
    settings = load_settings()
    if is_over_handles:
        return connect_async("ray", token=token)
    address = settings.address
    if address in {"", "ray"} or address.startswith("ray://"):
        address = f"{'https' if settings.is_loopback_encrypted else 'http'}://127.0.0.1:{settings.http_port}"
    return connect_async(address, token=token)


@contextlib.contextmanager
def _on_the_cluster(settings: Settings, record: ClusterRecord | None) -> Iterator[bool]:
    """Connect to Ray where the cluster is one of this machine; yields whether it is."""
    if record is None:
        yield False
        return
    from actors.local_system import connected
    from zejzl_ray.cluster.local_plan import RAY_TOKEN_FILE

    with connected(record, settings.data_path / RAY_TOKEN_FILE):
        yield True


def _show(rows: Sequence[Row]) -> None:
    table = Table(title="self-test", title_justify="left", header_style="bold")
    for column in ("service", "operation", "tried", "came of it"):
        table.add_column(column)
    table.add_column("ms", justify="right")
    for row in rows:
        outcome = f"{row.outcome}: {row.detail}" if row.detail else str(row.outcome)
        table.add_row(
            row.service,
            row.operation,
            row.how,
            Text(printable(outcome), _STYLES[row.outcome]),
            f"{row.ms:.1f}" if row.ms else "",
        )
    output.print(table)
    counts = Counter(row.outcome for row in rows)
    say(f"{len(rows)} operations: " + ", ".join(f"{counts[each]} {each}" for each in Outcome if counts[each]))
