"""A sender hears of it when its connection to another host closes, and when that host is ended."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from actors.identities import ensure_identities
from tests.cluster.mail_stage import Host, Stage, answers, forget_agents
from tests.cluster.system import System
from zejzl_ray.settings import Settings

# host -> its machine and its agents; ClosedB1 goes on with what it was asked
HOSTS = {
    "closedA": ("mainpc", ("ClosedA1",)),
    "closedB": ("pc2", ("ClosedB1", "ClosedB2")),
    "closedC": ("pc2", ("ClosedC1",)),
}
CLOSED_HEARD_S = 5.0  # the bar
SLACK = 3  # a busy machine gets this many times the time; the test prints what it was


@pytest.fixture(scope="module")
def stage(ray_cluster: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    settings = Settings(data_dir=ray_cluster.data_dir, namespace=ray_cluster.info["namespace"])
    made = Stage(tmp_path_factory.mktemp("closed"), settings, ensure_identities(ray_cluster.data_dir), {})
    for name, (machine, agents) in HOSTS.items():
        made.start(name, machine, tuple(made.agent(agent, "Talker") for agent in agents))
    try:
        yield made
    finally:
        for host in made.hosts.values():
            host.end()
        forget_agents(ray_cluster, [agent for _, agents in HOSTS.values() for agent in agents])


async def waiting(sender: Host, receiver: str) -> "asyncio.Future[Any]":
    """Return a request of ClosedA1 that waits for a long time; it is with the receiver."""
    asked = asyncio.ensure_future(sender.do("ask", "ClosedA1", receiver, "wait", {"seconds": 60}, 60.0))
    await asyncio.sleep(0.5)
    return asked


async def is_heard_of(asked: "asyncio.Future[Any]", since_s: float, what: str) -> None:
    """Wait for the error of a request; it came in time."""
    error, at_s = await asked
    assert error == "AgentUnreachable"
    print(f"{what} was heard of after {at_s - since_s:.3f} s; the bar is {CLOSED_HEARD_S} s")  # noqa: T201
    assert at_s - since_s < CLOSED_HEARD_S * SLACK


async def test_a_closed_connection_is_heard_of_and_mail_goes_on_over_a_new_one(stage: Stage) -> None:
    sender, receiver = stage.hosts["closedA"], stage.hosts["closedB"]
    await answers(stage, "ClosedA1", "ClosedB1", "closedA")
    asked = await waiting(sender, "ClosedB1")
    pid = await receiver.do("pid")
    closed_s = time.monotonic()
    assert await receiver.do("close_connections", await sender.do("pid")) > 0
    await is_heard_of(asked, closed_s, "a closed connection")
    assert await receiver.do("pid") == pid
    await answers(stage, "ClosedA1", "ClosedB2", "closedA", within_s=20)


async def test_a_host_that_is_ended_while_it_works_is_heard_of(stage: Stage) -> None:
    await answers(stage, "ClosedA1", "ClosedC1", "closedA")
    asked = await waiting(stage.hosts["closedA"], "ClosedC1")
    ended_s = time.monotonic()
    stage.hosts.pop("closedC").end()
    await is_heard_of(asked, ended_s, "the end of a host")
