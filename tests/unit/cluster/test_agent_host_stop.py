"""The end of a host of agents: what its agents have sent last gets where it should."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from tests.unit.bus.linked_offices import Offices, note, numbers
from zejzl_ray.bus.codec import decode_batch
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.ports import Delivered, Outgoing
from zejzl_ray.cluster import agent_host
from zejzl_ray.cluster.agent_host import AgentHost, AgentHostOptions, HostedAgent
from zejzl_ray.contracts.agent_host import DeliverMail, MailDelivered
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.settings import Settings


class Beta:
    """Host beta, as transport and directory see it.

    Attributes:
        is_open: whether it answers.
        got: what it has taken.
    """

    def __init__(self) -> None:
        self.is_open = asyncio.Event()
        self.got: list[Message] = []

    async def deliver(self, host: str, outgoing: Outgoing) -> Delivered:
        await self.is_open.wait()
        self.got += decode_batch(outgoing.batch) if outgoing.batch else []
        return Delivered(boot="b")

    def speakers(self, host: str) -> Offices:
        raise AssertionError("nothing comes back")

    def watch(self, host: str) -> None: ...

    def locate(self, agent: str) -> str | None:
        return "beta" if agent == "reader" else None

    def known_agents(self) -> list[str]:
        return ["reader"]

    def subscribers(self, topic: str) -> list[tuple[str, str]]:
        return []


@pytest.fixture
def beta() -> Beta:
    return Beta()


@pytest.fixture
async def host(tmp_path: Path, beta: Beta) -> AsyncIterator[AgentHost]:
    settings = Settings(data_dir=tmp_path, store_url="memory", environment="dev", require_auth=False)
    credential = SecretStr("zs_service.host.alpha_" + "0" * 64)
    agents = (HostedAgent("late", "nowhere:Agent"),)

    async def never(request: DeliverMail, call: CallContext) -> MailDelivered:
        raise AssertionError("nobody calls over the network here")

    made = AgentHost(
        AgentHostOptions("alpha", "pc2", settings, credential, agents=agents), "127.0.0.1", never
    )
    made.office.connect(beta)
    made.office.away._directory = beta
    yield made
    await made.stop()


async def test_mail_that_waits_goes_before_the_host_ends(host: AgentHost, beta: Beta) -> None:
    for number in range(3):
        await host.office.send(note(number, "reader"))
    stopping = asyncio.create_task(host.stop())
    await asyncio.sleep(0.02)
    assert not stopping.done()
    beta.is_open.set()
    await stopping
    assert numbers(beta.got) == [0, 1, 2]
    assert not host.office.dead_letters.counts()


async def test_mail_that_cannot_go_is_a_dead_letter_and_does_not_keep_the_host(
    host: AgentHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_host, "FLUSH_S", 0.02)
    await host.office.send(note(0, "reader"))
    await asyncio.sleep(0)
    await host.office.send(note(1, "reader"))
    with capture_logs() as lines:
        await host.stop()
    assert host.office.dead_letters.counts() == {DeadLetterReason.UNREACHABLE: 2}
    assert any("could not go" in line["event"] and line["waiting"] == 1 for line in lines)


async def test_agents_that_are_about_to_start_are_not_started_any_more(
    host: AgentHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    async def wait(limit_s: float) -> None:
        await asyncio.sleep(0.05)
        started.append("too late")

    monkeypatch.setattr(host._directory, "wait_until_read", wait)
    host._tasks = [asyncio.create_task(host._start_agents(), name="start-agents")]
    await asyncio.sleep(0)
    await host.stop()
    await asyncio.sleep(0.06)
    assert started == []
    assert host.agents.names() == ()


async def test_a_host_says_how_long_its_stop_may_take(host: AgentHost) -> None:
    assert (await host.list_held_agents()).stop_within_s == agent_host.FLUSH_S + agent_host._STOP_S
