"""The hub's typed client, and what the hub asks of others."""

import pytest
from pydantic import JsonValue

from tests.unit.observability.hub_bench import Bench, InProcess
from zejzl_ray.cluster.fleet_standings import RegistryFleet
from zejzl_ray.cluster.machine_logs import NodeAgentLogs
from zejzl_ray.cluster.observability_hub import ObservabilityHubClient
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import GetHealth, ServiceHealth
from zejzl_ray.contracts.logs import LogPage, ReadFleetLogs, ReadLogs
from zejzl_ray.contracts.machines import Machine
from zejzl_ray.contracts.observability_hub import GetDeadlockStatus, ListDeadlocks, WatchDeadlocks
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.orchestrator import Agent, AgentKind, AgentPage, AgentState, ListAgents, MachineList
from zejzl_ray.contracts.performance import GetPerformance, ReportPerformance
from zejzl_ray.contracts.waits import ReportWaits
from zejzl_ray.errors import ServiceUnavailable, ZejzlError
from zejzl_ray.observability.performance_bottlenecks import AgentStanding


class Script:
    """Answers each operation with what a test has put there."""

    def __init__(self, **answers: Contract | ZejzlError) -> None:
        self.answers: dict[str, Contract | ZejzlError] = dict(answers)
        self.asked: list[tuple[str, str]] = []

    async def call(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
        self.asked.append((operation.service, operation.name))
        operation_name = f"page{request.cursor}" if isinstance(request, ListAgents) else operation.name
        answer = self.answers[operation_name]
        if isinstance(answer, ZejzlError):
            raise answer
        return answer

    async def close(self) -> None: ...


def known(name: str, state: AgentState, expected: JsonValue = None) -> Agent:
    return Agent(
        name=name,
        kind=AgentKind.ACTOR,
        host="127.0.0.1",
        state=state,
        state_since_s=1.0,
        registered_at_s=1.0,
        revision=1,
        metadata={} if expected is None else {"expected_s": expected},
    )


async def test_every_operation_goes_through_the_client() -> None:
    async with Bench().hub() as hub:
        client = ObservabilityHubClient(InProcess(hub))
        now_s = 1.0
        await client.report_waits(ReportWaits(host="h", boot="b", sequence=1, at_s=now_s))
        assert (await client.list_deadlocks(ListDeadlocks())).events == ()
        assert (await client.watch_deadlocks(WatchDeadlocks(timeout_s=0))).revision == 0
        assert (await client.get_deadlock_status(GetDeadlockStatus())).hosts == 1
        report = ReportPerformance(host="h", boot="b", sequence=1, from_s=now_s, at_s=now_s)
        assert (await client.report_performance(report)).sequence == 1
        assert (await client.get_performance(GetPerformance())).rows == ()
        assert (await client.health(GetHealth())).is_ready
        with pytest.raises(ServiceUnavailable):
            await client.read_logs(ReadFleetLogs())


async def test_an_answer_of_another_kind_is_refused() -> None:
    client = ObservabilityHubClient(Script(health=GetHealth()))
    with pytest.raises(TypeError, match="health answered GetHealth"):
        await client.health(GetHealth())


async def test_standings_are_read_page_by_page() -> None:
    script = Script(
        page=AgentPage(agents=(known("A", AgentState.LOST, 2),), next_cursor="2", revision=1),
        page2=AgentPage(
            agents=(known("B", AgentState.HEALTHY, "soon"), known("C", AgentState.DEGRADED, True)), revision=1
        ),
    )
    assert await RegistryFleet(script).standings() == {
        "A": AgentStanding(state="lost", expected_s=2.0),
        "B": AgentStanding(state="healthy"),
        "C": AgentStanding(state="degraded"),
    }


async def test_logs_are_read_from_the_node_agent_of_the_machine() -> None:
    machine = Machine(name="pc2", is_alive=False, first_seen_at_s=1, last_seen_at_s=1, revision=1)
    script = Script(list_machines=MachineList(machines=(machine,)), read_logs=LogPage(lines=(), cursor="c"))
    logs = NodeAgentLogs(script)
    assert await logs.machines() == ["pc2"]
    assert (await logs.read_logs("pc2", ReadLogs())).cursor == "c"
    assert script.asked[-1] == ("node_agent:pc2", "read_logs")
    script.answers["list_machines"] = ServiceUnavailable("away")
    assert await logs.machines() == ["pc2"], "as of the last time"
    with pytest.raises(ServiceUnavailable):
        await NodeAgentLogs(script).machines()
    script.answers["read_logs"] = ServiceHealth(service="x", is_ready=True)
    with pytest.raises(TypeError, match="not LogPage"):
        await logs.read_logs("pc2", ReadLogs())
