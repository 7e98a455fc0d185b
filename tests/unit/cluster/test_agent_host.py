"""A host of agents without a cluster around it: what it says of itself, and its end."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from zejzl_ray.cluster.agent_host import AgentHost, AgentHostOptions, _mail_ports
from zejzl_ray.contracts import agent_host as wire
from zejzl_ray.contracts.access import AuthenticatedCall, Principal
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import CheckStatus
from zejzl_ray.errors import NotFound, ServiceUnavailable
from zejzl_ray.settings import Settings


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[AgentHost]:
    settings = Settings(data_dir=tmp_path, store_url="memory", environment="dev", require_auth=False)
    options = AgentHostOptions("alpha", "pc2", settings, SecretStr("zs_service.host.alpha_" + "0" * 64))
    made = AgentHost(options, "127.0.0.1", never)
    await made._open_door()
    yield made
    await made.stop()


def test_mail_comes_in_at_the_ports_of_the_settings_between_machines_and_at_any_on_one() -> None:
    assert list(_mail_ports(Settings(mail_ports="7600-7602"), "192.168.1.10")) == [7600, 7601, 7602]
    assert not _mail_ports(Settings(mail_ports="any"), "192.168.1.10")
    assert not _mail_ports(Settings(mail_ports="7600-7602"), "127.0.0.1")


async def never(request: wire.DeliverMail, call: CallContext) -> wire.MailDelivered:
    raise AssertionError("nobody calls over the network here")


def call(host: str = "beta") -> AuthenticatedCall:
    return AuthenticatedCall(principal=Principal(subject=f"service:host.{host}"))


def opening(*agents: str) -> wire.OpenMail:
    return wire.OpenMail(host="beta", boot="b", speakers=tuple(wire.Speaker(agent=agent) for agent in agents))


async def problems(host: AgentHost) -> dict[str, tuple[CheckStatus, str]]:
    health = await host.health()
    return {c.name: (c.status, c.reason) for c in health.checks if c.status is not CheckStatus.OK}


async def test_health_says_that_mail_cannot_be_kept_and_the_registry_was_not_heard_of(
    host: AgentHost,
) -> None:
    found = await problems(host)
    assert found["kept_mail"] == (CheckStatus.DEGRADED, "the outbox is not open yet")
    assert "not heard of yet" in found["directory"][1]
    assert "background" not in found


async def test_a_task_that_ends_is_a_failure_that_shows(host: AgentHost) -> None:
    async def break_down() -> None:
        raise RuntimeError("a fault")

    task = asyncio.create_task(break_down(), name="mail-directory")
    task.add_done_callback(host._task_over)
    with capture_logs() as lines:
        await asyncio.wait({task})
        await asyncio.sleep(0)
    assert [line["task"] for line in lines] == ["mail-directory"]
    assert (await problems(host))["background"] == (
        CheckStatus.FAILED,
        "mail-directory has ended (RuntimeError)",
    )
    assert not (await host.health()).is_ready


async def test_a_connection_is_answered_with_the_own_agents_and_ends_with_the_other_host(
    host: AgentHost,
) -> None:
    host.office.open_mailbox("Mine")
    opened = await host.open_mail(opening("Theirs"), call())
    assert [speaker.agent for speaker in opened.speakers] == ["Mine"]
    assert opened.valid_s == 300.0
    assert host.office.link("beta").can_go_back == {"Mine"}
    batch: Any = wire.DeliverMail(connection=opened.connection, frame=b"\x90")
    host._gone("beta", "it died")
    assert host.office.link("beta").can_go_back == frozenset()
    with pytest.raises(NotFound):
        await host.deliver_mail(batch, call())


async def test_who_asks_for_the_end_again_waits_for_the_same_one(host: AgentHost) -> None:
    first = asyncio.create_task(host.stop())
    await asyncio.sleep(0)
    first.cancel()
    await host.stop()
    await host.stop()
    with pytest.raises(ServiceUnavailable):
        await host.open_mail(opening(), call())
