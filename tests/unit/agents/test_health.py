import asyncio
from typing import Any

import pytest

from zejzl_ray.agents.agent import Agent
from zejzl_ray.agents.health import CheckResult, HealthChecks, RecentOutcomes, judge
from zejzl_ray.bus.message import Message
from zejzl_ray.contracts.agent_life import CheckOutcome, LifeState
from zejzl_ray.contracts.orchestrator import HealthStatus
from zejzl_ray.errors import InvalidInput, Unavailable
from zejzl_ray.resilience.degradation import degrades
from zejzl_ray.resilience.degradations import Degradation
from zejzl_ray.testing.agents import AgentHarness


class Checked(Agent):
    """Has whatever checks a test gives it."""

    async def on_message(self, message: Message) -> None:
        if message.message_type == "fail":
            raise ValueError("x")


async def test_without_checks_an_agent_that_works_is_healthy() -> None:
    async with AgentHarness(Checked(), name="a") as harness:
        await harness.tell("x")
        health = await harness.health()
    assert (health.agent, health.score, health.status, health.reasons) == ("a", 1.0, HealthStatus.HEALTHY, ())


async def later(answer: Any) -> Any:
    await asyncio.sleep(0)
    return answer


def raise_ours() -> bool:
    raise Unavailable("the camera is away", "Plug it in.")


def raise_theirs() -> bool:
    raise OSError("token hunter2")


async def later_raise() -> bool:
    await asyncio.sleep(0)
    return raise_theirs()


@pytest.mark.parametrize(
    ("check", "score", "reason"),
    [
        (lambda: None, 1.0, ""),
        (lambda: True, 1.0, ""),
        (lambda: 0.9, 0.9, ""),
        (lambda: False, 0.0, "failed"),
        (lambda: 0.25, 0.25, "score 0.25"),
        (lambda: CheckResult(0.6, "the disk is nearly full"), 0.6, "the disk is nearly full"),
        (lambda: CheckResult(1.0, "only said"), 1.0, "only said"),
        (lambda: later(False), 0.0, "failed"),
        (raise_ours, 0.0, "the camera is away"),
        (raise_theirs, 0.0, "the check raised OSError"),
        (later_raise, 0.0, "the check raised OSError"),
        (lambda: "fine", 0.0, "the check returned str"),
        (lambda: 2.0, 0.0, "the check returned float"),
    ],
)
async def test_a_check_says_how_well_and_why_not(check: Any, score: float, reason: str) -> None:
    checks = HealthChecks()
    checks.add("it", check, 2)
    assert await checks.run() == [CheckOutcome(name="it", score=score, weight=2, reason=reason)]


async def test_a_check_that_hangs_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zejzl_ray.agents.health.CHECK_TIMEOUT_S", 0.01)
    checks = HealthChecks()
    checks.add("hangs", lambda: asyncio.sleep(100))
    (outcome,) = await checks.run()
    assert (outcome.score, outcome.reason) == (0.0, "no answer within 0.01 s")


@pytest.mark.parametrize(("check", "weight"), [(None, 1.0), (lambda: True, 0), (lambda: True, float("nan"))])
def test_a_check_that_cannot_be_is_refused(check: Any, weight: float) -> None:
    with pytest.raises(InvalidInput, match="'it'"):
        HealthChecks().add("it", check, weight)


def test_checks_are_bounded() -> None:
    checks = HealthChecks()
    for n in range(100):
        checks.add(str(n), lambda: True)
    checks.add("99", lambda: False)  # replaced
    with pytest.raises(InvalidInput, match="at most 100"):
        checks.add("one more", lambda: True)


async def test_the_score_is_the_weighted_mean_and_the_worst_check_gives_the_reason() -> None:
    agent = Checked()
    agent.add_check("camera", lambda: False, weight=2)
    agent.add_check("disk", lambda: True)
    async with AgentHarness(agent) as harness:
        health = await harness.health()
        assert health.score == pytest.approx(0.5)  # 2 x 0, 1 x 1, and the handlers 1 x 1
        assert (health.status, health.reasons) == (HealthStatus.DEGRADED, ("camera: failed",))
        agent.add_check("net", lambda: False)
        assert (await harness.health()).status is HealthStatus.UNHEALTHY
        assert [check.name for check in (await harness.health()).checks] == [
            "camera",
            "disk",
            "net",
            "handlers",
        ]


async def test_many_failing_messages_degrade_an_agent() -> None:
    async with AgentHarness(Checked()) as harness:
        for _ in range(10):
            await harness.mail.send(Message("tester", harness.name, "fail", {}))
        await harness.settle()
        assert (await harness.health()).status is HealthStatus.HEALTHY  # ten say nothing yet
        await harness.tell("fail")
        health = await harness.health()
        assert (health.status, health.reasons) == (
            HealthStatus.UNHEALTHY, ("handlers: 11 of the last 11 messages failed",),
        )  # fmt: skip


def test_a_tenth_of_the_messages_may_fail() -> None:
    outcomes = RecentOutcomes()
    for n in range(1000):
        outcomes.add(has_failed=n % 10 == 0)
    assert outcomes.outcome().score == 1.0
    outcomes.add(has_failed=True)
    outcomes.add(has_failed=True)
    outcome = outcomes.outcome()
    assert outcome.score == pytest.approx(0.69)
    assert outcome.reason == "11 of the last 100 messages failed"
    assert (outcomes.handled, outcomes.failed) == (1002, 102)


async def test_fallbacks_in_use_are_shown_until_the_real_way_is_back() -> None:
    class Degrading(Agent):
        def __init__(self) -> None:
            self.is_away = True

        @degrades(to={"answer": "from the cache"}, name="model")
        async def _model(self) -> dict[str, Any]:
            if self.is_away:
                raise Unavailable("the model is away")
            return {"answer": "real"}

        async def on_message(self, message: Message) -> dict[str, Any]:
            return await self._model()

    agent = Degrading()
    async with AgentHarness(agent) as harness:
        assert await harness.ask("x") == {"answer": "from the cache"}
        health = await harness.health()
        assert (health.status, health.degradations) == (HealthStatus.DEGRADED, ("model",))
        assert health.reasons[0].startswith("uses the fallback model: ")
        agent.is_away = False
        assert await harness.ask("x") == {"answer": "real"}
        assert (await harness.health()).status is HealthStatus.HEALTHY
        agent.degrade("speaker", "no sound card")
        assert (await harness.health()).reasons == ("uses the fallback speaker: no sound card",)
        agent.recover("speaker")
        assert (await harness.health()).degradations == ()


@pytest.mark.parametrize(
    ("state", "status", "score"),
    [
        (LifeState.RUNNING, HealthStatus.HEALTHY, 1.0),
        (LifeState.STANDBY, HealthStatus.HEALTHY, 1.0),
        (LifeState.STARTING, HealthStatus.DEGRADED, 1.0),
        (LifeState.PAUSED, HealthStatus.DEGRADED, 1.0),
        (LifeState.DRAINING, HealthStatus.DEGRADED, 1.0),
        (LifeState.STOPPED, HealthStatus.DEGRADED, 1.0),
        (LifeState.BACKING_OFF, HealthStatus.UNHEALTHY, 0.0),
        (LifeState.FAILED, HealthStatus.UNHEALTHY, 0.0),
    ],
)
def test_the_state_counts_for_the_health(state: LifeState, status: HealthStatus, score: float) -> None:
    health = judge("a", state, "why")
    assert (health.status, health.score) == (status, score)
    assert health.reasons == (() if status is HealthStatus.HEALTHY else (f"{state}: why",))
    assert judge("a", state, "", (), (Degradation("f", is_degraded=True, reason="r"),)).degradations == ("f",)


async def test_what_an_agent_measures_itself_is_in_its_info() -> None:
    agent = Checked()
    async with AgentHarness(agent) as harness:
        agent.metrics.count("frames")
        agent.metrics.count("frames", "dropped", by=2)
        agent.metrics.set("temperature", 21.5)
        agent.metrics.set("broken", float("nan"))
        agent.metrics.time("decode", 0.001)
        agent.metrics.time("decode", 0.001)
        for n in range(200):
            agent.metrics.set(f"g{n}", n)
            agent.metrics.time(f"t{n}", n)
        metrics = (await harness.runner.info()).metrics
    assert (metrics["frames"], metrics["frames{dropped}"], metrics["temperature"]) == (1, 2, 21.5)
    decode = metrics["decode"]
    assert isinstance(decode, dict)
    assert decode["count"] == 2
    assert "broken" not in metrics
    assert sum(name.startswith(("g", "t")) for name in metrics) == 99 + 1 + 99
