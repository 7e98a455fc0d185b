"""The node agent's process: it reports its machine, under its own name, and answers who may ask."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

from actors import node_agent
from actors.node_agent import NodeAgentActor, NodeAgentOptions
from tests.unit.actors.fake_access import FakeAccess
from tests.unit.actors.fake_ray import FakeRay
from tests.unit.auth.process_bench import ProcessBench
from tests.unit.auth.quiet_gateway import QuietGateway
from zejzl_ray.clock import SystemClock
from zejzl_ray.cluster.names import MACHINE_LABEL, node_agent_name
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import CheckStatus, GetHealth
from zejzl_ray.contracts.life import Stopped, StopService
from zejzl_ray.contracts.machines import GetSnapshot
from zejzl_ray.errors import Forbidden, Unauthenticated
from zejzl_ray.machine.settings import GpuSettings, NodeAgentSettings

SETTINGS = NodeAgentSettings(gpus=GpuSettings(simulated="RTX 3060:512"), cpu_count=2)
OPTIONS = NodeAgentOptions("pc2", SETTINGS, SecretStr("zs_machine.pc2_hunter2"), "ns")


@pytest.fixture
def bench() -> ProcessBench:
    made = ProcessBench()
    made.clock.advance(SystemClock().now_s() - made.clock.now_s())  # the actor takes the system's clock
    return made


@pytest.fixture
def accesses(bench: ProcessBench, fake_ray: FakeRay, monkeypatch: pytest.MonkeyPatch) -> list[FakeAccess]:
    made: list[FakeAccess] = []

    def access(*arguments: Any) -> FakeAccess:
        made.append(FakeAccess(QuietGateway(bench), *arguments))
        return made[-1]

    ray: Any = fake_ray
    ray.util = SimpleNamespace(get_node_ip_address=lambda: "10.0.0.2")
    monkeypatch.setattr(node_agent, "ray", ray)
    monkeypatch.setattr(node_agent, "GatewayAccess", access)
    monkeypatch.setattr(node_agent, "configure_logging", lambda *_, **__: None)
    return made


async def test_it_reports_answers_and_stops(accesses: list[FakeAccess], bench: ProcessBench) -> None:
    agent: Any = NodeAgentActor(OPTIONS)
    (access,) = accesses
    assert (access.namespace, access.credential) == ("ns", OPTIONS.credential)
    await access.gateway.is_waiting.wait()

    snapshot = await agent.snapshot(GetSnapshot(), bench.call())
    assert (snapshot.machine, snapshot.node_id, snapshot.address) == ("pc2", "n1", "10.0.0.2")
    async with asyncio.timeout(10):
        while "core_orchestrator.report_machine" not in access.caller.asked:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.001)
    health = await agent.health(GetHealth(), bench.call())
    statuses = {check.name: check.status for check in health.checks}
    assert not health.is_ready  # nobody takes its reports
    assert statuses["security_feed"] is CheckStatus.OK
    assert "audit_trail" in statuses

    assert await agent.stop(StopService(), bench.call()) == Stopped()
    assert await agent.stop(StopService(), bench.call()) == Stopped()
    # the trail was handed over before the way to the gateway was closed
    assert access.log[0] == "recorded"
    assert access.log.index("closed") > 0
    (chain,) = {entry.chain for entry in access.entries}
    assert chain.startswith("node_agent.pc2.")
    assert [entry.kind for entry in access.entries][:2] == ["started", "granted"]


async def test_it_is_closed_like_every_service(accesses: list[FakeAccess], bench: ProcessBench) -> None:
    agent: Any = NodeAgentActor(OPTIONS)
    await accesses[0].gateway.is_waiting.wait()
    with pytest.raises(Unauthenticated):
        await agent.snapshot(GetSnapshot(), CallContext())
    with pytest.raises(Forbidden):
        await agent.stop(StopService(), bench.call(grants=("node_agent:*:read",)))
    assert (await agent.snapshot(GetSnapshot(), bench.call(grants=("node_agent:*:read",)))).machine == "pc2"
    await agent.stop(StopService(), bench.call())


async def test_on_a_developers_machine_it_answers_anybody_and_says_so(accesses: list[FakeAccess]) -> None:
    agent: Any = NodeAgentActor(
        NodeAgentOptions("pc2", SETTINGS, OPTIONS.credential, "ns", is_auth_required=False)
    )
    health = await agent.health(GetHealth(), CallContext())
    assert "authentication" in {check.name for check in health.checks}
    await agent.stop(StopService(), CallContext())


def test_it_is_pinned_to_its_machine_and_outlives_its_starter(
    fake_ray: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_agent, "ray", fake_ray)
    handle: Any = node_agent.start(OPTIONS)
    assert handle == (NodeAgentActor, (OPTIONS,))
    given = fake_ray.options_given
    assert (given["name"], given["namespace"]) == (node_agent_name("pc2"), "ns")
    assert (given["lifetime"], given["max_restarts"], given["get_if_exists"]) == ("detached", -1, True)
    assert given["label_selector"] == {MACHINE_LABEL: "pc2"}
    assert "hunter2" not in repr(OPTIONS)
