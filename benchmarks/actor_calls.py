"""Calls through actor handles: look-ups against a bare actor, and bulk registration against awaited SETs.

Run: ``python -m benchmarks.actor_calls [--pairs 10] [--json]``. Starts a Ray cluster of its own on this machine.
"""

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.report import Row, print_rows, spread
from zejzl_ray.cluster.node_start import client_environment
from zejzl_ray.cluster.secret_file import ensure_token

DIRECTORY = Path(tempfile.mkdtemp(prefix="zjb-", dir="/tmp"))
ensure_token(DIRECTORY / "ray_token")
os.environ.update(client_environment(DIRECTORY / "ray_token"))

import ray
from pydantic import SecretStr
from ray.cluster_utils import Cluster
from redis.asyncio import Redis

from actors.core_orchestrator import CoreOrchestratorActor
from actors.place import ServiceOptions, start_service
from zejzl_ray.cluster.names import MACHINE_LABEL
from zejzl_ray.cluster.topology import PLACES
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.orchestrator import (
    Agent,
    AgentKind,
    AgentState,
    GetAgent,
    RegisterAgent,
    RegisterAgents,
)
from zejzl_ray.log import configure_logging
from zejzl_ray.settings import Settings
from zejzl_ray.testing.redis_server import RedisServer

AGENTS = 10_000
SETS = 2_000
LOOKUPS = 4_000
IN_FLIGHT = 200


class ReadyAnswer:
    """The baseline: the same models and options, and an answer that lies ready."""

    def __init__(self, answer: Agent) -> None:
        self._answer = answer

    @ray.method
    async def get_agent(self, request: GetAgent, call: CallContext) -> Agent:
        """Return the answer."""
        return self._answer


def registrations() -> tuple[RegisterAgent, ...]:
    """Return agents as a real fleet has them: some capabilities, dependencies and metadata."""
    return tuple(
        RegisterAgent(
            name=f"Agent{number:05}",
            kind=AgentKind.PROCESS,
            machine="mainpc",
            host="10.0.0.1",
            port=1024 + number,
            capabilities=("chat", "translate"),
            dependencies=("CoreOrchestrator",),
            metadata={"group": "language", "required": True},
        )
        for number in range(AGENTS)
    )


async def lookups_per_s(handle: Any) -> float:
    """Return the rate of one caller that keeps some calls in flight."""
    call = CallContext()
    requests = [GetAgent(name=f"Agent{number % AGENTS:05}") for number in range(LOOKUPS)]
    method = handle.get_agent
    started_s = time.perf_counter()
    for start in range(0, LOOKUPS, IN_FLIGHT):
        refs = [method.remote(request, call) for request in requests[start : start + IN_FLIGHT]]
        await asyncio.gather(*refs)
    return LOOKUPS / (time.perf_counter() - started_s)


async def sets_per_s(server: RedisServer, value: bytes) -> float:
    """Return the rate of awaited SETs of one value a key."""
    client = Redis.from_url(server.url)
    started_s = time.perf_counter()
    for number in range(SETS):
        await client.set(f"agent:{number}", value)
    took_s = time.perf_counter() - started_s
    await client.aclose()
    return SETS / took_s


async def bulk_per_s(store_url: str, namespace: str) -> tuple[float, bytes]:
    """Return the rate of one bulk registration through the handle, and the bytes of one stored agent."""
    options = ServiceOptions(
        Settings(store_url=store_url, namespace=namespace, environment="dev", require_auth=False),
        SecretStr("unused"),
    )
    handle: Any = start_service(
        CoreOrchestratorActor, PLACES["core_orchestrator"], options, namespace=namespace
    )
    call = CallContext()
    await handle.register_agent.remote(RegisterAgent(name="First"), call)  # the process is up
    request = RegisterAgents(agents=registrations())
    started_s = time.perf_counter()
    done = await handle.register_agents.remote(request, call)
    took_s = time.perf_counter() - started_s
    assert done.created == AGENTS
    stored = await handle.get_agent.remote(GetAgent(name="Agent00007"), call)
    ray.kill(handle)
    return AGENTS / took_s, stored.model_dump_json().encode()


@contextmanager
def cluster() -> Iterator[None]:
    """A two-node cluster of its own."""
    args = {"num_cpus": 2, "object_store_memory": 200_000_000, "include_dashboard": False}
    started = Cluster(initialize_head=True, head_node_args={**args, "labels": {MACHINE_LABEL: "mainpc"}})
    ray.init(address=started.address, log_to_driver=False, logging_level=40)
    try:
        yield
    finally:
        ray.shutdown()
        started.shutdown()
        shutil.rmtree(DIRECTORY, ignore_errors=True)


async def measure_lookups(pairs: int) -> Row:
    """Compare the service with the bare actor, turn by turn."""
    options = ServiceOptions(
        Settings(store_url="memory", namespace="lookups", environment="dev", require_auth=False),
        SecretStr("unused"),
    )
    service: Any = start_service(
        CoreOrchestratorActor, PLACES["core_orchestrator"], options, namespace="lookups"
    )
    call = CallContext()
    await service.register_agents.remote(RegisterAgents(agents=registrations()), call)
    answer = await service.get_agent.remote(GetAgent(name="Agent00007"), call)
    assert answer.state is AgentState.STARTING
    bare: Any = ray.remote(ReadyAnswer).options(num_cpus=0.01, max_concurrency=4096).remote(answer)
    ratios, rates = [], []
    for turn in range(pairs + 1):
        first, second = (service, bare) if turn % 2 else (bare, service)
        measured = {id(first): await lookups_per_s(first), id(second): await lookups_per_s(second)}
        if turn:  # the first pair warms up
            ratios.append(measured[id(service)] / measured[id(bare)])
            rates.append(measured[id(service)])
    ray.kill(service)
    ray.kill(bare)
    return Row(
        "look-ups through the actor handle, one caller, pipelined", "x", spread(ratios, "at least"),
        "an async actor method with the same models that returns a ready answer", 0.9, "at least",
        f"{spread(rates).median:.0f} look-ups/s",
    )  # fmt: skip


async def measure_bulk(pairs: int, name: str, url: Callable[[int], str], durable: RedisServer) -> Row:
    """Compare one bulk registration through the handle with awaited SETs, turn by turn.

    "Persisted" is the same promise on both sides: the server of the SETs syncs each one. What a server that
    writes nothing would make of it is a note.
    """
    ratios, ratios_in_memory, rates = [], [], []
    with RedisServer(is_durable=False) as in_memory:
        for turn in range(pairs):
            rate, value = await bulk_per_s(url(turn), f"{name}-{turn}")
            ratios.append(rate / await sets_per_s(durable, value))
            ratios_in_memory.append(rate / await sets_per_s(in_memory, value))
            rates.append(rate)
    return Row(
        f"bulk registration of {AGENTS} agents through the actor handle, persisted in {name}", "x",
        spread(ratios, "at least"),
        "async redis-py, one awaited SET of the same bytes an agent (appendfsync always)", 4, "at least",
        f"{spread(rates).median:.0f} agents/s; {spread(ratios_in_memory).median:.2g} x against a server without "
        "append-only file",
    )  # fmt: skip


async def measure(pairs: int) -> list[Row]:
    """Measure everything."""
    rows = [await measure_lookups(pairs)]
    with RedisServer() as server:
        rows.append(
            await measure_bulk(pairs, "SQLite", lambda turn: f"sqlite://{DIRECTORY}/sqlite-{turn}", server)
        )
        # A database of its own each time: the service begins with nothing.
        rows.append(
            await measure_bulk(
                pairs, "Redis", lambda turn: f"redis://{server.address}/{turn % 15 + 1}", server
            )
        )
    return rows


def main() -> int:
    """Run and print; exit code 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10, help="interleaved pairs of each figure")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    configure_logging("WARNING")
    with cluster():
        rows = asyncio.run(measure(arguments.pairs))
    return 0 if print_rows("calls through actor handles", rows, is_json=arguments.json) else 1


if __name__ == "__main__":
    sys.exit(main())
