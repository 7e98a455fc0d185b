"""What holds the fleet up: handlers that slow down, handlers that fail, agents that are not well."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from zejzl_ray.contracts.performance import Bottleneck, BottleneckKind
from zejzl_ray.observability.performance_flow import Flow

# What counts as slow for an agent that declares no expectation of its own.
SLOW_S: Final = 5.0
SLOWER_THAN_USUAL: Final = 1.5
FAILING_RATIO: Final = 0.3
FEWEST_RUNS: Final = 5
MAX_BOTTLENECKS: Final = 50
_IMPACT_OF_STATE: Final = {"lost": 100.0, "unhealthy": 100.0, "degraded": 50.0}


@dataclass(frozen=True, slots=True)
class AgentStanding:
    """What the registry knows of an agent.

    Attributes:
        state: its health state.
        expected_s: how long it says that its handlers take; None where it does not say.
    """

    state: str = ""
    expected_s: float | None = None


def find_bottlenecks(
    now: Mapping[tuple[str, str], Flow],
    usual: Mapping[tuple[str, str], Flow],
    agents: Mapping[str, AgentStanding],
) -> tuple[Bottleneck, ...]:
    """Return at most 50 bottlenecks, the greatest impact first.

    A handler slows down when its mean of the last minute is 1.5 times its usual one and above what its agent expects
    of itself (5 s where it says nothing). It fails when more than 30 % of at least 5 runs did. An agent counts when the
    registry says that it is degraded, unhealthy or lost.

    Args:
        now: the last minute by agent and message type.
        usual: everything since the start, likewise.
        agents: what is known of agents.
    """
    found = [*_slowing(now, usual, agents), *_failing(now), *_unwell(now, agents)]
    found.sort(key=lambda each: (-each.impact, each.agent, each.message_type, each.kind))
    return tuple(found[:MAX_BOTTLENECKS])


def _slowing(
    now: Mapping[tuple[str, str], Flow],
    usual: Mapping[tuple[str, str], Flow],
    agents: Mapping[str, AgentStanding],
) -> Iterable[Bottleneck]:
    for (agent, message_type), flow in now.items():
        before = usual.get((agent, message_type))
        if before is None or flow.handling.count < FEWEST_RUNS or not before.handling.mean_s:
            continue
        expected_s = agents.get(agent, AgentStanding()).expected_s
        ratio = flow.handling.mean_s / before.handling.mean_s
        if ratio <= SLOWER_THAN_USUAL or flow.handling.mean_s <= (
            SLOW_S if expected_s is None else expected_s
        ):
            continue
        yield Bottleneck(
            kind=BottleneckKind.SLOWING,
            agent=agent,
            message_type=message_type,
            impact=min((ratio - 1) * 100, 100.0),
            reason=f"takes {flow.handling.mean_s:.3g} s now, {before.handling.mean_s:.3g} s usually",
        )


def _failing(now: Mapping[tuple[str, str], Flow]) -> Iterable[Bottleneck]:
    for (agent, message_type), flow in now.items():
        runs = max(flow.handling.count, flow.failed)
        if runs >= FEWEST_RUNS and flow.failed > FAILING_RATIO * runs:
            yield Bottleneck(
                kind=BottleneckKind.FAILING,
                agent=agent,
                message_type=message_type,
                impact=100 * flow.failed / runs,
                reason=f"{flow.failed} of {runs} runs failed in the last minute",
            )


def _unwell(now: Mapping[tuple[str, str], Flow], agents: Mapping[str, AgentStanding]) -> Iterable[Bottleneck]:
    failed: dict[str, int] = {}
    runs: dict[str, int] = {}
    for (agent, _), flow in now.items():
        failed[agent] = failed.get(agent, 0) + flow.failed
        runs[agent] = runs.get(agent, 0) + max(flow.handling.count, flow.failed)
    for agent, standing in agents.items():
        impact = _IMPACT_OF_STATE.get(standing.state)
        if impact is None:
            continue
        share = 100 * failed.get(agent, 0) / runs[agent] if runs.get(agent) else 0.0
        yield Bottleneck(
            kind=BottleneckKind.AGENT,
            agent=agent,
            impact=max(impact, share),
            reason=f"is {standing.state}",
        )
