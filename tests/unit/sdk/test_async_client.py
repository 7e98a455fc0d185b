import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from zejzl_ray import errors
from zejzl_ray.contracts import orchestrator as wire
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import GetHealth, ServiceHealth
from zejzl_ray.contracts.machines import Machine
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.orchestrator import Agent
from zejzl_ray.contracts.problems import problem_of, wire_status
from zejzl_ray.contracts.security_feed import WatchFeed
from zejzl_ray.contracts.services import OPERATIONS
from zejzl_ray.contracts.tokens import Identity, WhoAmI
from zejzl_ray.errors import ZejzlError
from zejzl_ray.sdk.async_client import AsyncClient
from zejzl_ray.sdk.http_caller import HttpCaller
from zejzl_ray.sdk.patience import Patience
from zejzl_ray.testing import ManualClock

MACHINE = Machine(name="pc2", is_alive=True, first_seen_at_s=1, last_seen_at_s=2, revision=3)
HEALTH = ServiceHealth(service="core_orchestrator", is_ready=True)


async def test_every_method_sends_its_operation_and_returns_the_reply(
    caller: Any, make_agent: Callable[..., Agent]
) -> None:
    agent, client = make_agent("Scout", 4), AsyncClient(caller)
    bulk = wire.AgentsRegistered(created=1, replaced=0, unchanged=0, revision=4)
    beat = wire.HeartbeatAccepted(name="Scout", state=agent.state, lease_expires_at_s=None, revision=4)
    removed = wire.AgentDeregistered(name="Scout", was_known=True, revision=5)
    told = wire.AgentExplanation(name="Scout", state=agent.state, reason="", since_s=1)
    history = wire.History(events=(), oldest_kept_revision=1)
    snapshot = wire.RegistrySnapshot(agents=(), machines=(), revision=1, boot="b")
    declared = wire.FleetDeclared(added=1, changed=0, removed=0, unchanged=0, revision=6)
    status = wire.RegistryStatus(agents=1, by_state={}, machines=0, revision=1, is_protected=False)
    cases: list[tuple[str, Contract, Any, Any, Contract]] = [
        ("get_agent", agent, client.agent("Scout"), agent, wire.GetAgent(name="Scout")),
        (
            "register_agent",
            agent,
            client.register("Scout", kind="process", port=9000, request_id="r"),
            agent,
            wire.RegisterAgent(name="Scout", kind=wire.AgentKind.PROCESS, port=9000, request_id="r"),
        ),
        (
            "register_agents",
            bulk,
            client.register_many(
                [{"name": "A", "request_id": "a"}, wire.RegisterAgent(name="B", request_id="b")],
                request_id="r",
            ),
            bulk,
            wire.RegisterAgents(
                request_id="r",
                agents=(
                    wire.RegisterAgent(name="A", request_id="a"),
                    wire.RegisterAgent(name="B", request_id="b"),
                ),
            ),
        ),
        ("explain_agent", told, client.explain("Scout"), told, wire.ExplainAgent(name="Scout")),
        ("get_history", history, client.history(limit=7), history, wire.GetHistory(limit=7)),
        ("get_snapshot", snapshot, client.snapshot(), snapshot, wire.GetSnapshot()),
        (
            "list_machines",
            wire.MachineList(machines=(MACHINE,)),
            client.machines(),
            [MACHINE],
            wire.ListMachines(),
        ),
        ("get_machine", MACHINE, client.machine("pc2"), MACHINE, wire.GetMachine(name="pc2")),
        ("get_registry_status", status, client.registry_status(), status, wire.GetRegistryStatus()),
        (
            "accept_losses",
            status,
            client.accept_losses(request_id="r"),
            status,
            wire.AcceptLosses(request_id="r"),
        ),
        ("health", HEALTH, client.service_health(), HEALTH, GetHealth()),
        (
            "declare_fleet",
            declared,
            client.declare_fleet([{"name": "A", "request_id": "a"}], "fleet.yaml", request_id="r"),
            declared,
            wire.DeclareFleet(
                request_id="r", source="fleet.yaml", agents=(wire.RegisterAgent(name="A", request_id="a"),)
            ),
        ),
    ]
    for operation, reply, running, expected, request in cases:
        caller.on(operation, reply)
        assert await running == expected
        assert caller.asked[-1][:2] == (operation, request)

    caller.on("heartbeat", beat)
    assert await client.heartbeat("Scout", "degraded", "hot") == beat
    asked = caller.asked[-1][1]
    assert (asked.name, asked.status, asked.reason) == ("Scout", wire.HealthStatus.DEGRADED, "hot")

    caller.on("update_agent", agent)
    assert await client.update("Scout", vram_mib=512, expected_revision=3) == agent
    asked = caller.asked[-1][1]
    assert (asked.name, asked.vram_mib, asked.expected_revision, asked.host) == ("Scout", 512, 3, None)

    caller.on("deregister_agent", removed)
    assert await client.deregister("Scout", "done") == removed
    asked = caller.asked[-1][1]
    assert (asked.name, asked.reason) == ("Scout", "done")


def test_every_operation_of_the_registry_has_a_method() -> None:
    by_hand = {"report_machine"}  # node agents send it
    methods = {
        "register_agent": "register",
        "register_agents": "register_many",
        "get_agent": "agent",
        "update_agent": "update",
        "deregister_agent": "deregister",
        "explain_agent": "explain",
        "watch_agents": "watch",
        "get_history": "history",
        "get_snapshot": "snapshot",
        "get_registry_status": "registry_status",
        "list_machines": "machines",
        "get_machine": "machine",
        "health": "service_health",
    }
    missing = [
        operation.name
        for operation in wire.OPERATIONS
        if operation.name not in by_hand
        and not hasattr(AsyncClient, methods.get(operation.name, operation.name))
    ]
    assert missing == []


async def test_a_list_goes_over_all_pages(caller: Any, make_agent: Callable[..., Agent]) -> None:
    a, b = make_agent("A"), make_agent("B")
    caller.on(
        "list_agents",
        wire.AgentPage(agents=(a,), next_cursor="A", revision=1),
        wire.AgentPage(agents=(b,), revision=1),
    )
    assert await AsyncClient(caller).list_agents(machine="pc2", state="healthy") == [a, b]
    first, second = caller.requests("list_agents")
    assert (first.cursor, second.cursor) == ("", "A")
    assert first.machine == second.machine == "pc2"
    assert first.state is wire.AgentState.HEALTHY


async def test_a_page_that_points_at_itself_ends_the_list(
    caller: Any, make_agent: Callable[..., Agent]
) -> None:
    caller.on("list_agents", wire.AgentPage(agents=(make_agent("A"),), next_cursor="A", revision=1))
    client = AsyncClient(caller)
    assert [agent.name async for agent in client.agents(page_size=1)] == ["A", "A"]


async def test_a_list_as_a_whole_has_a_limit(make_agent: Callable[..., Agent]) -> None:
    class Slow:
        async def call(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
            await asyncio.Event().wait()
            raise AssertionError("cancelled before")

        async def close(self) -> None: ...

    with pytest.raises(errors.DeadlineExceeded, match="list of agents"):
        await AsyncClient(Slow()).list_agents(timeout_s=0.001)


async def test_a_time_out_that_a_service_reports_for_a_page_is_raised_as_it_is(caller: Any) -> None:
    reported = errors.RequestTimedOut("no reply from planner")
    caller.on("list_agents", reported)
    with pytest.raises(errors.RequestTimedOut) as info:
        await AsyncClient(caller).list_agents()
    assert info.value is reported


async def test_a_call_carries_token_deadline_and_the_id_of_its_request(
    caller: Any, clock: ManualClock, make_agent: Callable[..., Agent]
) -> None:
    caller.on("register_agent", make_agent())
    caller.on("get_agent", make_agent())
    client = AsyncClient(caller, token=SecretStr("t"), timeout_s=3.0, clock=clock)
    assert client.timeout_s == 3.0
    await client.register("Scout", request_id="req-mine")
    await client.agent("Scout", timeout_s=1.5)
    first, second = (call for *_, call in caller.asked)
    assert first.token is not None
    assert (first.token.get_secret_value(), first.request_id) == ("t", "req-mine")
    assert first.deadline_at_s == clock.now_s() + 3.0
    assert second.deadline_at_s == clock.now_s() + 1.5
    assert second.request_id.startswith("req-")


async def test_any_declared_operation_can_be_called(caller: Any) -> None:
    hub = next(o for o in OPERATIONS if o.service == "observability_hub" and o.name == "health")
    caller.on("health", HEALTH)
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    assert await AsyncClient(caller).call(hub, GetHealth(), caused_by="req-0", traceparent=trace) == HEALTH
    assert (caller.asked[0][2].caused_by, caller.asked[0][2].traceparent) == ("req-0", trace)


async def test_an_unknown_service_is_refused_with_the_known_ones(caller: Any) -> None:
    with pytest.raises(errors.NotFound, match=r"'coffee'.*core_orchestrator"):
        await AsyncClient(caller).service_health("coffee")


async def test_a_wrong_name_is_refused_before_anything_is_sent(caller: Any) -> None:
    with pytest.raises(errors.InvalidInput, match="name: "):
        await AsyncClient(caller).agent("no good")
    assert caller.asked == []


async def test_an_answer_of_the_wrong_kind_is_an_error(caller: Any) -> None:
    caller.on("get_agent", HEALTH)
    with pytest.raises(ZejzlError, match="ServiceHealth and no Agent"):
        await AsyncClient(caller).agent("Scout")


async def test_a_closed_client_says_so(caller: Any) -> None:
    async with AsyncClient(caller) as client:
        pass
    with pytest.raises(ZejzlError, match="closed"):
        await client.machines()
    assert caller.closed == 1


def _classes(parent: type[ZejzlError] = ZejzlError) -> list[type[ZejzlError]]:
    own = [
        child
        for child in parent.__subclasses__()
        if child.__module__ == errors.__name__ and child.__bases__[0] is parent
    ]
    return [parent, *(found for child in own for found in _classes(child))]


@pytest.mark.parametrize("cls", _classes(), ids=lambda cls: cls.__name__)
async def test_both_ways_raise_the_same_exception(
    caller: Any, cls: type[ZejzlError], patience: Patience
) -> None:
    raised = cls("what is wrong", "what to do")

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(wire_status(raised).http, content=problem_of(raised).model_dump_json())

    caller.on("get_agent", raised)
    http = HttpCaller("http://127.0.0.1", transport=httpx2.MockTransport(answer), patience=patience)
    caught: list[ZejzlError] = []
    for way in (caller, http):
        with pytest.raises(ZejzlError) as info:
            await AsyncClient(way).agent("Scout")
        caught.append(info.value)
    assert [type(error) for error in caught] == [cls, cls]
    assert caught[0].args == caught[1].args


async def test_the_gateway_is_called_with_the_clients_token_and_limit(caller: Any, clock: Any) -> None:
    caller.on("who_am_i", Identity(subject="user:ada", grants=(), session="s", expires_at_s=1.0))
    caller.on("watch_feed", errors.DeadlineExceeded("late"))
    client = AsyncClient(caller, token=SecretStr("t"), timeout_s=4.0, clock=clock)
    trace = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    context = CallContext(caused_by="r-1", traceparent=trace)
    assert (await client.security.who_am_i(WhoAmI(), context)).subject == "user:ada"
    with pytest.raises(errors.DeadlineExceeded):
        await client.security.watch_feed(WatchFeed(timeout_s=20.0))
    (_, _, first), (_, _, second) = caller.asked
    assert first.token == SecretStr("t")
    assert (first.caused_by, first.traceparent) == ("r-1", trace)
    assert first.deadline_at_s == clock.now_s() + 4.0
    assert second.deadline_at_s == clock.now_s() + 24.0  # a long poll waits on top of it


async def test_the_registry_has_a_typed_client_too(caller: Any) -> None:
    caller.on("list_machines", wire.MachineList(machines=(MACHINE,)))
    client = AsyncClient(caller, token=SecretStr("t"))
    assert (await client.orchestrator.list_machines(wire.ListMachines())).machines == (MACHINE,)
    assert caller.asked[0][2].token == SecretStr("t")
