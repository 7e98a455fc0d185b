"""Starting, replacing and ending hosts of agents, without Ray."""

import time
from typing import Any

import pytest
from pydantic import SecretStr

from actors import agent_host, host_room, hosts
from actors.host_plans import HostPlan
from actors.hosts import AgentHosts
from tests.unit.actors.fake_hosts import NAMESPACE, FakeHosts, info, waiting
from zejzl_ray.cluster.agent_host import AgentHostOptions
from zejzl_ray.contracts import agent_host as wire
from zejzl_ray.contracts.agent_life import LifeState
from zejzl_ray.errors import ClusterError, NotFound, ServiceUnavailable, Unauthenticated
from zejzl_ray.settings import Settings


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeHosts:
    fake = FakeHosts()
    monkeypatch.setattr(hosts, "ray", fake.module())
    monkeypatch.setattr(host_room, "ray", fake.module())
    monkeypatch.setattr(hosts, "list_placed", fake.list_placed)
    monkeypatch.setattr(agent_host, "start", fake.start)
    monkeypatch.setattr(hosts, "_POLL_S", 0.001)
    return fake


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def own(fake: FakeHosts, told: list[str]) -> AgentHosts:
    access: Any = fake
    return AgentHosts(access, NAMESPACE, told.append)


def plan(name: str = "talk", digest: str = "d1", machine: str = "mainpc", **asked: Any) -> HostPlan:
    credential = SecretStr("zs_service.x")
    options = AgentHostOptions(name, machine, Settings(), credential, digest=digest)
    return HostPlan(options, **asked)


async def test_a_host_that_does_not_run_is_started_and_its_agents_are_told(
    own: AgentHosts, fake: FakeHosts, told: list[str]
) -> None:
    fake.agents["talk"] = (
        info("A"),
        info("B", LifeState.FAILED, "no model"),
        info("C", LifeState.BACKING_OFF),
    )
    fake.not_ready = [
        waiting(),
        waiting("the registry"),
        ServiceUnavailable("away"),
        Unauthenticated("late news"),
    ]
    (standing,) = await own.bring_up([plan()], limit_s=5)
    assert fake.log == [("start", "talk")]
    assert standing.troubles == (
        "the agent B of the host talk is failed: no model",
        "the agent C of the host talk is backing_off: no reason given",
    )
    assert told[0] == "host talk on mainpc: 1 of 3 agents run"
    assert told[1:] == [f"warning: {trouble}" for trouble in standing.troubles]


async def test_a_host_that_is_as_the_file_says_is_left_alone(
    own: AgentHosts, fake: FakeHosts, told: list[str]
) -> None:
    fake.digests = {"talk": "d1", "by_hand": ""}
    (standing,) = await own.bring_up([plan()], limit_s=5)
    assert (standing.troubles, fake.log, told) == ((), [], [])


async def test_a_changed_host_is_drained_and_started_anew_and_one_that_left_is_ended(
    own: AgentHosts, fake: FakeHosts, told: list[str]
) -> None:
    fake.digests = {"talk": "d0", "gone": "d9"}
    await own.bring_up([plan()], limit_s=5)
    assert sorted(fake.log[:4]) == [("kill", "gone"), ("kill", "talk"), ("stop", "gone"), ("stop", "talk")]
    assert fake.log[4:] == [("start", "talk")]
    assert "host talk has changed: it is replaced" in told
    assert "host gone is not in the fleet any more: it stops" in told


async def test_a_host_that_does_not_answer_is_replaced_only_when_no_process_of_it_runs(
    own: AgentHosts, fake: FakeHosts, told: list[str]
) -> None:
    fake.digests, fake.away, fake.alive = {"talk": "d0"}, {"talk"}, {"talk"}
    (standing,) = await own.bring_up([plan()], limit_s=0.02)
    assert fake.log == []
    assert "does not answer and is left as it is" in told[0]
    assert "it is not ready: agent_host:talk is away." in standing.problem
    fake.alive = set()
    fake.starts = lambda options: fake.away.clear()
    (standing,) = await own.bring_up([plan()], limit_s=5)
    assert fake.log == [("kill", "talk"), ("start", "talk")]
    assert standing.problem == ""
    assert "did not stop in order: agent_host:talk is away." in "".join(told)


async def test_a_host_of_nobody_that_does_not_answer_is_left_alone(own: AgentHosts, fake: FakeHosts) -> None:
    fake.digests, fake.away = {"odd": "d"}, {"odd"}
    assert await own.bring_up([], limit_s=5) == ()
    assert fake.log == []


async def test_a_host_that_cannot_be_ended_is_a_warning(
    own: AgentHosts, fake: FakeHosts, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "_GONE_S", 0.0)
    fake.digests, fake.is_kill_late = {"gone": "d9"}, True
    await own.bring_up([], limit_s=5)
    assert (
        told[-1] == "warning: the host gone could not be ended: Host gone was ended, but Ray still knows it."
    )


async def test_a_host_of_an_absent_machine_is_handed_to_ray_and_not_waited_for(
    own: AgentHosts, fake: FakeHosts
) -> None:
    (standing,) = await own.bring_up([plan(machine="pc2")], limit_s=5, absent={"pc2"})
    assert fake.log == [("start", "talk")]
    assert standing.problem == "pc2 has not joined; it starts when it does"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"cpus": 9}, "it asks for 9 CPU, and mainpc has 8."),
        ({"memory_mib": 9000}, "it asks for 9000 memory (MiB), and mainpc has 8192."),
        ({"resources": {"laser": 1}}, "it asks for 1 laser, and mainpc has 0."),
        ({"machine": "pc2"}, "the machine pc2 is not in the cluster."),
    ],
)
async def test_what_a_machine_does_not_have_is_said_at_once(
    own: AgentHosts, fake: FakeHosts, asked: dict[str, Any], words: str
) -> None:
    standing = await own.start(plan(**asked))
    assert words in standing.problem
    assert standing.troubles[0].startswith("the host talk does not run: ")
    assert fake.log == []


async def test_what_ray_refuses_is_the_hosts_problem_alone(own: AgentHosts, fake: FakeHosts) -> None:
    def refuse(options: Any) -> None:
        if options.name == "talk":
            raise ValueError("bad option\nwith more")

    fake.starts = refuse
    talk, see = await own.bring_up([plan(), plan("see")], limit_s=5)
    assert (talk.problem, see.problem) == ("bad option", "")


async def test_a_host_with_video_memory_is_placed_on_a_card(
    own: AgentHosts, fake: FakeHosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed: list[dict[str, Any]] = []

    class Placer:
        def __init__(self, *_: Any, **__: Any) -> None: ...

        async def start(self, actor: Any, arguments: Any, **asked: Any) -> None:
            placed.append(asked)
            fake.start(*arguments)

    monkeypatch.setattr(hosts, "VramPlacer", Placer)
    standing = await own.start(plan(vram_mib=2000, memory_mib=10, cpus=1, resources={"camera": 1}))
    assert standing.problem == ""
    (asked,) = placed
    assert (asked["name"], asked["vram_mib"], asked["machine"], asked["cpus"]) == (
        "agent_host:talk", 2000, "mainpc", 1,
    )  # fmt: skip
    assert asked["options"]["memory"] == 10 * 1024 * 1024
    assert asked["options"]["resources"] == {"camera": 1}
    assert (asked["options"]["lifetime"], asked["options"]["max_restarts"]) == ("detached", -1)


async def test_ending_a_host_drains_it_first(own: AgentHosts, fake: FakeHosts) -> None:
    fake.digests = {"talk": "d1"}
    await own.end("talk")
    assert fake.log == [("stop", "talk"), ("kill", "talk")]
    assert not await own.is_running("talk")
    with pytest.raises(NotFound, match=r"No host talk runs. These run: none."):
        await own.end("talk")


async def test_a_renewed_host_is_waited_for(
    own: AgentHosts, fake: FakeHosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.digests = {"talk": "d1"}
    await own.renew("talk")
    assert fake.log == [("stop", "talk"), ("renew", "talk")]
    monkeypatch.setattr(hosts, "START_S", 0.01)
    fake.away = {"talk"}
    with pytest.raises(ClusterError, match="Host talk has not come back"):
        await own.renew("talk")


async def test_an_agent_is_started_at_its_host(own: AgentHosts, fake: FakeHosts) -> None:
    fake.digests = {"talk": "d1"}
    assert (await own.start_agent("talk", "A")).name == "A"
    assert fake.log == [("start_agent", "talk", "A")]


async def test_a_host_gets_the_time_to_stop_that_it_says_it_needs(
    own: AgentHosts, fake: FakeHosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.digests["talk"] = "d1"
    asked: list[tuple[float | None, float]] = []
    answer = fake.call

    async def listen(operation: Any, request: Any, call: Any) -> Any:
        if operation.name == "stop":
            asked.append((request.timeout_s, call.deadline_at_s - time.time()))
        reply = await answer(operation, request, call)
        return (
            reply.model_copy(update={"stop_within_s": 75.0}) if isinstance(reply, wire.HeldAgents) else reply
        )

    monkeypatch.setattr(fake, "call", listen)
    await own.end("talk")
    ((timeout_s, left_s),) = asked
    assert timeout_s == 75.0
    assert left_s > 75.0
