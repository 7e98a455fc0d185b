"""Where mailboxes are, from what the registry tells."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.unit.agents.parties import Registry, bench
from zejzl_ray import Agent
from zejzl_ray.agents.runner import AgentRunner
from zejzl_ray.cluster.mail_directory import HOST_KEY, MailDirectory
from zejzl_ray.contracts import orchestrator as wire
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.errors import RevisionCompacted, ZejzlError


def entry(name: str, host: str = "h1", *patterns: str, state: str = "healthy") -> wire.Agent:
    metadata: dict[str, Any] = {HOST_KEY: host} if host else {}
    if patterns:
        metadata["subscriptions"] = list(patterns)
    return wire.Agent(
        name=name,
        kind=wire.AgentKind.ACTOR,
        host="127.0.0.1",
        metadata=metadata,
        state=wire.AgentState(state),
        state_since_s=0.0,
        registered_at_s=0.0,
        revision=1,
    )


class Orchestrator:
    """A ``Caller`` that is a registry: a snapshot, then batches of events; answers what it is given, in order."""

    def __init__(self, *answers: Contract | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []
        self.is_done = asyncio.Event()

    async def call(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
        self.asked.append((operation.name, getattr(request, "from_revision", -1)))
        if not self.answers:
            self.is_done.set()
            await asyncio.Event().wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        raise AssertionError("its owner closes it")


def snapshot(revision: int, *agents: wire.Agent) -> wire.RegistrySnapshot:
    return wire.RegistrySnapshot(revision=revision, boot="b", agents=agents, machines=())


def batch(revision: int, *changes: tuple[str, wire.Agent | None]) -> wire.WatchBatch:
    events = tuple(
        wire.AgentEvent(
            kind="agent_updated" if agent else "agent_deregistered",
            name=name,
            revision=revision,
            at_s=0.0,
            agent=agent,
        )
        for name, agent in changes
    )
    return wire.WatchBatch(events=events, revision=revision)


async def followed(*answers: Contract | Exception) -> tuple[MailDirectory, Orchestrator]:
    orchestrator = Orchestrator(*answers)
    directory = MailDirectory(orchestrator)
    task = asyncio.create_task(directory.run())
    try:
        async with asyncio.timeout(5):
            await orchestrator.is_done.wait()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    return directory, orchestrator


async def test_agents_of_hosts_are_found_and_no_others() -> None:
    directory, _ = await followed(
        snapshot(
            3, entry("A"), entry("B", "h2"), entry("Old", ""), entry("Gone", "h1", state="stopped"),
            entry("Lost", "h2", state="lost"),
        )
    )  # fmt: skip
    assert [directory.locate(name) for name in ("A", "B", "Old", "Gone", "Nobody")] == [
        "h1", "h2", None, None, None,
    ]  # fmt: skip
    assert list(directory.known_agents()) == [
        "A",
        "B",
        "Lost",
    ]  # one that is lost may come back to its mailbox


async def test_moves_and_ends_are_followed_by_revision() -> None:
    directory, orchestrator = await followed(
        snapshot(3, entry("A"), entry("B")), batch(5, ("A", entry("A", "h2")), ("B", None))
    )
    assert (directory.locate("A"), directory.locate("B")) == ("h2", None)
    assert orchestrator.asked == [("get_snapshot", -1), ("watch_agents", 3), ("watch_agents", 5)]


async def test_subscribers_are_known_with_their_hosts_and_follow_changes() -> None:
    directory, _ = await followed(
        snapshot(1, entry("A", "h1", "x.*", "y"), entry("B", "h2", "x.>", "not. a pattern")),
        batch(2, ("A", entry("A", "h1", "z"))),
    )
    assert list(directory.subscribers("x.one")) == [("B", "h2")]
    assert list(directory.subscribers("z")) == [("A", "h1")]
    assert list(directory.subscribers("y")) == []


@pytest.mark.parametrize("trouble", [RevisionCompacted("too old"), ZejzlError("away")])
async def test_after_a_gap_everything_is_read_again_and_what_is_gone_is_forgotten(
    trouble: ZejzlError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zejzl_ray.cluster.mail_directory._PAUSE_S", 0.0)
    directory, orchestrator = await followed(
        snapshot(3, entry("A", "h1", "x"), entry("B")), trouble, snapshot(9, entry("B", "h2"))
    )
    assert list(directory.known_agents()) == ["B"]
    assert list(directory.subscribers("x")) == []
    assert orchestrator.asked[-1] == ("watch_agents", 9)


async def test_what_an_agent_subscribes_to_is_told_as_the_directory_reads_it() -> None:
    class Listener(Agent):
        subscriptions = ("alarms.*",)

    async with bench() as b:
        await AgentRunner(Listener(), b.parts).start()
        registry: Registry = b.registry
        _, name, _, metadata, _ = next(call for call in registry.calls if call[0] == "register")
        told = entry(name).model_copy(update={"metadata": metadata})
        directory, _ = await followed(snapshot(1, told))
        assert list(directory.subscribers("alarms.fire")) == [("Listener", "h1")]


async def test_a_foreign_failure_is_told_once_and_does_not_end_the_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("zejzl_ray.cluster.mail_directory._PAUSE_S", 0.0)
    fault = ValueError("not a registry")
    with capture_logs() as lines:
        directory, _ = await followed(fault, fault, snapshot(3, entry("A")), batch(4))
    assert [line["reason"] for line in lines] == ["ValueError('not a registry')"]
    assert directory.locate("A") == "h1"
    assert (directory.is_read, directory.problem) == (True, "")


async def test_a_directory_says_what_is_wrong_with_it() -> None:
    assert "not heard of yet" in MailDirectory(Orchestrator()).problem
    directory, _ = await followed(snapshot(3, entry("A")), batch(4))
    assert directory.problem == ""
