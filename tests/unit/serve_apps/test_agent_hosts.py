"""Routes to hosts of agents: which actor is asked, and for whom nobody is."""

import pytest

from tests.unit.serve_apps.fake_registry import FakeRegistry
from tests.unit.serve_apps.running import StartIngress
from zejzl_ray.contracts import agent_host as wire
from zejzl_ray.contracts.agent_life import AgentHealth, AgentInfo, LifeState
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.orchestrator import HealthStatus

INFO = AgentInfo(
    name="Scout",
    state=LifeState.RUNNING,
    state_since_s=1,
    health=AgentHealth(agent="Scout", score=1, status=HealthStatus.HEALTHY),
)


class RegistryWithHosts(FakeRegistry):
    """Also answers for hosts of agents, and notes which actor was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str, Contract]] = []

    async def call(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
        if not operation.service.startswith("agent_host"):
            return await super().call(operation, request, call)
        self.asked.append((operation.service, operation.name, request))
        if operation.reply is wire.HeldAgents:
            return wire.HeldAgents(host="talk", machine="mainpc", boot="b1", agents=(INFO,))
        return INFO


@pytest.fixture
def registry() -> RegistryWithHosts:
    registry = RegistryWithHosts()
    registry.put("Scout", metadata={"agent_host": "talk"})
    registry.put("Other")
    return registry


@pytest.mark.parametrize("what", ["start", "stop", "restart"])
async def test_what_is_asked_of_an_agent_goes_to_the_actor_of_its_host(
    start_ingress: StartIngress, registry: RegistryWithHosts, what: str
) -> None:
    ingress = await start_ingress(registry=registry)
    await ingress.settle()
    answer = await ingress.client.post(f"/v1/hosts/talk/agents/Scout/{what}", json={})
    assert (answer.status_code, answer.json()["state"]) == (200, "running")
    ((actor, operation, request),) = registry.asked
    assert (actor, operation) == ("agent_host:talk", f"{what}_agent")
    assert isinstance(request, wire.ControlAgent)
    assert (request.name, request.host) == ("Scout", "talk")


async def test_the_agents_of_a_host_can_be_read(
    start_ingress: StartIngress, registry: RegistryWithHosts
) -> None:
    ingress = await start_ingress(registry=registry)
    await ingress.settle()
    answer = await ingress.client.get("/v1/hosts/talk/agents")
    assert [agent["name"] for agent in answer.json()["agents"]] == ["Scout"]


async def test_a_host_that_no_agent_names_is_not_looked_for(
    start_ingress: StartIngress, registry: RegistryWithHosts
) -> None:
    ingress = await start_ingress(registry=registry)
    await ingress.settle()
    answer = await ingress.client.get("/v1/hosts/elsewhere/agents")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "no agent of a host elsewhere" in answer.json()["detail"]
    assert registry.asked == []


async def test_nobody_without_a_token_reaches_a_host(
    start_ingress: StartIngress, registry: RegistryWithHosts
) -> None:
    ingress = await start_ingress(registry=registry)
    await ingress.settle()
    answer = await ingress.client.post("/v1/hosts/talk/agents/Scout/stop", headers={"authorization": ""})
    assert answer.status_code == 401
    assert registry.asked == []
