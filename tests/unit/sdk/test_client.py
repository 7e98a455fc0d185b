import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from zejzl_ray import errors
from zejzl_ray.contracts import orchestrator as wire
from zejzl_ray.contracts.health import GetHealth, ServiceHealth
from zejzl_ray.contracts.machines import Machine
from zejzl_ray.contracts.orchestrator import Agent, AgentEvent
from zejzl_ray.contracts.services import OPERATIONS
from zejzl_ray.errors import ZejzlError
from zejzl_ray.sdk.async_client import AsyncClient
from zejzl_ray.sdk.client import Client
from zejzl_ray.sdk.registration import Registration
from zejzl_ray.sdk.sync_registration import SyncRegistration

MACHINE = Machine(name="pc2", is_alive=True, first_seen_at_s=1, last_seen_at_s=2, revision=3)


@pytest.fixture
def client(caller: Any) -> Iterator[Client]:
    with Client(AsyncClient(caller)) as client:
        yield client


def public(cls: type) -> dict[str, Any]:
    return {name: member for name, member in vars(cls).items() if not name.startswith("_")}


@pytest.mark.parametrize(
    ("blocking", "asynchronous"), [(Client, AsyncClient), (SyncRegistration, Registration)]
)
def test_both_clients_have_the_same_methods_and_arguments(blocking: type, asynchronous: type) -> None:
    def arguments(member: Any) -> list[tuple[str, Any, Any, Any]]:
        if isinstance(member, property):
            return []
        parameters = inspect.signature(member).parameters.values()
        return [(p.name, p.kind, p.default, p.annotation) for p in parameters]

    in_both = {name: arguments(member) for name, member in public(blocking).items()}
    theirs = {
        name: arguments(member) for name, member in public(asynchronous).items() if name != "renew_once"
    }
    # an attribute there, a property here; and blocking code takes `call` for what has a typed client
    apart = {"agent", "error", "security", "orchestrator", "observability"}
    assert {name: found for name, found in in_both.items() if name not in apart} == {
        name: found for name, found in theirs.items() if name not in apart
    }


def test_every_method_returns_what_its_namesake_returns(
    client: Client, caller: Any, make_agent: Callable[..., Agent]
) -> None:
    agent = make_agent("Scout")
    health = ServiceHealth(service="core_orchestrator", is_ready=True)
    replies: dict[str, Any] = {
        "get_agent": agent,
        "register_agent": agent,
        "update_agent": agent,
        "register_agents": wire.AgentsRegistered(created=1, replaced=0, unchanged=0, revision=4),
        "heartbeat": wire.HeartbeatAccepted(name="S", state=agent.state, lease_expires_at_s=None, revision=4),
        "deregister_agent": wire.AgentDeregistered(name="Scout", was_known=True, revision=5),
        "explain_agent": wire.AgentExplanation(name="Scout", state=agent.state, reason="", since_s=1),
        "get_history": wire.History(events=(), oldest_kept_revision=1),
        "get_snapshot": wire.RegistrySnapshot(agents=(), machines=(), revision=1, boot="b"),
        "declare_fleet": wire.FleetDeclared(added=1, changed=0, removed=0, unchanged=0, revision=6),
        "get_registry_status": wire.RegistryStatus(
            agents=1, by_state={}, machines=0, revision=1, is_protected=False
        ),
        "accept_losses": wire.RegistryStatus(
            agents=0, by_state={}, machines=0, revision=2, is_protected=False
        ),
        "get_machine": MACHINE,
        "health": health,
    }
    for operation, reply in replies.items():
        caller.on(operation, reply)
    caller.on("list_machines", wire.MachineList(machines=(MACHINE,)))
    caller.on("list_agents", wire.AgentPage(agents=(agent,), revision=1))
    health_of_hub = next(o for o in OPERATIONS if o.name == "health")
    assert client.agent("Scout") == agent
    assert client.register("Scout", port=1) == agent
    assert client.register_request(wire.RegisterAgent(name="Scout")) == agent
    assert client.update("Scout", port=2) == agent
    assert client.register_many([{"name": "A"}]) == replies["register_agents"]
    assert client.heartbeat("Scout", "unhealthy", "hot") == replies["heartbeat"]
    assert client.deregister("Scout", "done") == replies["deregister_agent"]
    assert client.explain("Scout") == replies["explain_agent"]
    assert client.history("Scout", limit=3) == replies["get_history"]
    assert client.snapshot() == replies["get_snapshot"]
    assert client.declare_fleet([{"name": "A"}], "f") == replies["declare_fleet"]
    assert client.registry_status() == replies["get_registry_status"]
    assert client.accept_losses() == replies["accept_losses"]
    assert client.machine("pc2") == MACHINE
    assert client.machines() == [MACHINE]
    assert client.list_agents(machine="pc2") == [agent]
    assert list(client.agents(page_size=5)) == [agent]
    assert client.service_health() == health
    assert client.call(health_of_hub, GetHealth(), caused_by="req-0") == health
    assert client.timeout_s == 10.0


def test_errors_arrive_as_they_were_raised(client: Client, caller: Any) -> None:
    caller.on("get_agent", errors.AgentNotFound("No agent 'Scout'."))
    with pytest.raises(errors.AgentNotFound, match="Scout"):
        client.agent("Scout")


def test_a_watch_is_an_ordinary_iterator(
    client: Client, caller: Any, make_event: Callable[..., AgentEvent]
) -> None:
    caller.on(
        "watch_agents",
        wire.WatchBatch(events=(make_event("A", 1),), revision=1),
        wire.WatchBatch(events=(make_event("B", 2),), revision=2),
    )
    names = []
    for event in client.watch(0):
        names.append(event.name)
        if len(names) == 2:
            break
    assert names == ["A", "B"]


def test_a_watch_ends_with_its_limit(client: Client, caller: Any) -> None:
    caller.on("watch_agents", wire.WatchBatch(events=(), revision=0))
    assert list(client.watch(0, timeout_s=0.001)) == []


def test_a_watch_left_open_does_not_hinder_closing(
    client: Client, caller: Any, make_event: Callable[..., AgentEvent]
) -> None:
    caller.on("watch_agents", wire.WatchBatch(events=(make_event("A", 1),), revision=1))
    events = client.watch(0)
    assert next(events).name == "A"
    client.close()
    with pytest.raises(ZejzlError, match="closed"):
        next(events)


async def test_it_works_while_another_loop_runs_in_this_thread(
    client: Client, caller: Any, make_agent: Callable[..., Agent]
) -> None:
    caller.on("get_agent", make_agent("Scout"))
    assert client.agent("Scout").name == "Scout"


def test_threads_may_share_a_client(client: Client, caller: Any, make_agent: Callable[..., Agent]) -> None:
    caller.on("get_agent", lambda request: make_agent(request.name))
    got: list[str] = []
    threads = [threading.Thread(target=lambda n=n: got.append(client.agent(f"A{n}").name)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(got) == [f"A{n}" for n in range(8)]


def test_a_registration_is_kept_while_the_block_runs(
    client: Client, caller: Any, make_agent: Callable[..., Agent]
) -> None:
    beaten = threading.Event()

    def beat(_: Any) -> wire.HeartbeatAccepted:
        beaten.set()
        return wire.HeartbeatAccepted(
            name="Scout", state=wire.AgentState.HEALTHY, lease_expires_at_s=None, revision=1
        )

    caller.on("register_agent", make_agent("Scout"))
    caller.on("heartbeat", beat)
    caller.on("deregister_agent", wire.AgentDeregistered(name="Scout", was_known=True, revision=5))
    with client.registered("Scout", lease_s=3600) as registration:
        assert (registration.name, registration.agent) == ("Scout", make_agent("Scout"))
        registration.report("degraded", "hot")
        assert beaten.wait(20)
        assert registration.error is None
        renewing = [registration.is_renewing]
    assert [*renewing, registration.is_renewing] == [True, False]
    assert caller.requests("heartbeat")[0].reason == "hot"
    client.close()
    registration.stop()
    assert len(caller.requests("deregister_agent")) == 1


def test_closing_ends_the_thread_and_may_be_repeated(caller: Any) -> None:
    before = threading.active_count()
    client = Client(AsyncClient(caller))
    client.close()
    client.close()
    assert threading.active_count() == before
    with pytest.raises(ZejzlError, match="closed"):
        client.machines()
    assert caller.closed == 1
