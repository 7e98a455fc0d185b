"""``zejzl deadlocks``: the table, JSON, and following."""

import asyncio
import json
from collections.abc import Callable, Iterator

import pytest
from typer.testing import CliRunner, Result

from tests.unit.bus.wait_reports import agent, handling, report
from tests.unit.observability.hub_bench import Bench, InProcess, calling, plant
from zejzl_ray.cli import deadlocks
from zejzl_ray.cli.main import app
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.errors import Forbidden
from zejzl_ray.log import configure_logging
from zejzl_ray.observability.service import ObservabilityHub
from zejzl_ray.sdk.async_client import AsyncClient
from zejzl_ray.sdk.client import Client


class Way:
    """A ``Caller`` to a hub; plants something before each of the next watches, and refuses the one after."""

    def __init__(self, hub: ObservabilityHub) -> None:
        self.hub = hub
        self.coming: list[tuple[str, ...]] = []

    async def call(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
        if operation.name == "watch_deadlocks":
            if not self.coming:
                raise Forbidden("That is enough.")
            await plant(self.hub, *self.coming.pop(0))
        return await InProcess(self.hub).call(operation, request, call)

    async def close(self) -> None: ...


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> Iterator[Way]:
    configure_logging("ERROR")  # what the hub logs is not what the command says
    bench = Bench()
    hub = ObservabilityHub(bench.store, bench.clock)
    asyncio.run(hub.start())
    found = Way(hub)
    monkeypatch.setattr(deadlocks, "connect", lambda: Client(AsyncClient(found)))
    yield found
    asyncio.run(hub.stop())


@pytest.fixture
def run() -> Callable[..., Result]:
    return lambda *arguments: CliRunner().invoke(app, ["deadlocks", *arguments])


def test_a_fleet_without_deadlocks_says_so(way: Way, run: Callable[..., Result]) -> None:
    result = run()
    assert result.exit_code == 0
    assert "no deadlock is kept" in result.stderr
    assert "0 found" in result.stderr


def test_the_table_names_the_circle_and_who_stands_still(way: Way, run: Callable[..., Result]) -> None:
    asyncio.run(plant(way.hub, "Scout", "Map", "Plan"))
    slow = report("h", (agent("Slow", handling("r")),), ())  # since second 1 of 100
    asyncio.run(way.hub.report_waits(slow, calling()))
    result = run("--stacks")
    shown = result.stdout
    assert any(
        f"{circle}" in shown for circle in ("Scout -> Map -> Plan -> Scout", "Map -> Plan -> Scout -> Map")
    )
    assert "failed" in shown
    assert "no. 1" in shown
    assert "Slow" in shown
    assert "stalled" in shown
    assert "1 found, 1 ended" in result.stderr
    assert run("--agent", "Nobody").exit_code == 0


def test_as_json_it_is_one_object(way: Way, run: Callable[..., Result]) -> None:
    asyncio.run(plant(way.hub, "A", "B"))
    told = json.loads(run("--json", "-n", "1").stdout)
    assert set(told["deadlocks"][0]["deadlock"]["agents"]) == {"A", "B"}
    assert told["status"]["detected"] == 1


def test_following_tells_what_is_kept_and_then_what_comes(way: Way, run: Callable[..., Result]) -> None:
    asyncio.run(plant(way.hub, "A", "B"))
    way.coming = [("C", "D"), ("A", "E")]
    result = run("--follow", "--agent", "A", "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [set(line["deadlock"]["agents"]) for line in lines] == [{"A", "B"}, {"A", "E"}]
    way.coming = [("E", "F")]
    words = run("--follow", "--stacks").stdout
    assert "C -> D -> C" in words or "D -> C -> D" in words
    assert "waits for" in words
