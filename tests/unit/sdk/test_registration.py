import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from zejzl_ray import errors
from zejzl_ray.contracts.orchestrator import (
    Agent,
    AgentDeregistered,
    AgentState,
    HealthStatus,
    HeartbeatAccepted,
    RegisterAgent,
)
from zejzl_ray.sdk import registration as module
from zejzl_ray.sdk.async_client import AsyncClient

ACCEPTED = HeartbeatAccepted(name="Scout", state=AgentState.HEALTHY, lease_expires_at_s=130.0, revision=1)
GONE = AgentDeregistered(name="Scout", was_known=True, revision=2)
WAIT_S = 20.0


@pytest.fixture
def client(caller: Any, make_agent: Callable[..., Agent]) -> AsyncClient:
    caller.on("register_agent", make_agent("Scout"))
    caller.on("heartbeat", ACCEPTED)
    caller.on("deregister_agent", GONE)
    return AsyncClient(caller)


async def test_an_agent_is_registered_inside_and_deregistered_after(
    client: AsyncClient, caller: Any, make_agent: Callable[..., Agent]
) -> None:
    async with client.registered("Scout", capabilities=["ocr"]) as registration:
        assert registration.agent == make_agent("Scout")
        assert registration.name == "Scout"
        renewing = [registration.is_renewing]
    assert [*renewing, registration.is_renewing] == [True, False]
    assert [name for name, *_ in caller.asked] == ["register_agent", "deregister_agent"]
    (asked,) = caller.requests("register_agent")
    assert (asked.capabilities, asked.lease_s) == (("ocr",), module.DEFAULT_LEASE_S)


async def test_a_lease_that_was_given_is_kept(client: AsyncClient, caller: Any) -> None:
    async with client.registered("Scout", lease_s=7.0):
        pass
    assert caller.requests("register_agent")[0].lease_s == 7.0


async def test_an_agent_is_deregistered_when_the_program_fails(client: AsyncClient, caller: Any) -> None:
    with pytest.raises(ValueError, match="mine"):
        async with client.registered("Scout"):
            raise ValueError("mine")
    assert len(caller.requests("deregister_agent")) == 1


async def test_the_lease_is_renewed_again_and_again(client: AsyncClient, caller: Any) -> None:
    third = asyncio.Event()

    def accept(_: Any) -> HeartbeatAccepted:
        if len(caller.requests("heartbeat")) == 3:
            third.set()
        return ACCEPTED

    caller.on("heartbeat", accept)
    async with client.registered("Scout", lease_s=0.003):
        await asyncio.wait_for(third.wait(), WAIT_S)


async def test_a_report_is_sent_at_once(client: AsyncClient, caller: Any) -> None:
    sent = asyncio.Event()

    def accept(_: Any) -> HeartbeatAccepted:
        sent.set()
        return ACCEPTED

    caller.on("heartbeat", accept)
    async with client.registered("Scout", lease_s=3600) as registration:
        registration.report("degraded", "queue is long")
        await asyncio.wait_for(sent.wait(), WAIT_S)
    (beat,) = caller.requests("heartbeat")
    assert (beat.status, beat.reason) == (HealthStatus.DEGRADED, "queue is long")


def test_an_unknown_status_is_refused_where_it_is_given(client: AsyncClient) -> None:
    with pytest.raises(errors.InvalidInput, match=r"status: .*degraded"):
        client.registered("Scout").report("dizzy")


async def test_renewals_go_on_while_the_cluster_is_away(client: AsyncClient, caller: Any) -> None:
    back = asyncio.Event()

    def accept(_: Any) -> HeartbeatAccepted:
        back.set()
        return ACCEPTED

    caller.on("heartbeat", errors.ServiceUnavailable("away"), errors.DeadlineExceeded("slow"), accept)
    async with client.registered("Scout", lease_s=0.003) as registration:
        await asyncio.wait_for(back.wait(), WAIT_S)
        assert registration.error is None


async def test_an_agent_that_was_forgotten_is_registered_again(client: AsyncClient, caller: Any) -> None:
    caller.on("heartbeat", errors.AgentNotFound("forgotten"))
    request = RegisterAgent(name="Scout", is_new_required=True)
    registration = module.Registration(client, request)
    await registration.renew_once(1.0)
    (again,) = caller.requests("register_agent")
    assert not again.is_new_required
    assert again.request_id != request.request_id


async def test_any_other_error_ends_the_renewals_and_is_kept(client: AsyncClient, caller: Any) -> None:
    caller.on("heartbeat", errors.Forbidden("token revoked"))
    async with client.registered("Scout", lease_s=0.003) as registration:
        assert registration._renewals is not None
        await asyncio.wait_for(registration._renewals, WAIT_S)
        assert isinstance(registration.error, errors.Forbidden)
        assert not registration.is_renewing


async def test_leaving_is_quiet_when_the_cluster_is_away(client: AsyncClient, caller: Any) -> None:
    caller.on("deregister_agent", errors.ServiceUnavailable("away"))
    async with client.registered("Scout"):
        pass
    assert len(caller.requests("deregister_agent")) == 1


async def test_stopping_twice_or_before_the_start_does_nothing(client: AsyncClient, caller: Any) -> None:
    registration = client.registered("Scout")
    await registration.stop()
    await registration.start()
    await registration.stop()
    await registration.stop()
    assert len(caller.requests("deregister_agent")) == 1


async def test_a_registration_that_fails_leaves_nothing_behind(client: AsyncClient, caller: Any) -> None:
    caller.on("register_agent", errors.AgentExists("taken"))
    with pytest.raises(errors.AgentExists):
        async with client.registered("Scout", is_new_required=True):
            raise AssertionError("never entered")
    assert caller.requests("deregister_agent") == []


async def test_closing_the_client_ends_its_registrations(client: AsyncClient, caller: Any) -> None:
    registration = await client.registered("Scout").start()
    await client.close()
    assert not registration.is_renewing
    assert len(caller.requests("deregister_agent")) == 1
