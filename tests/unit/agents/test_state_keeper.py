import asyncio
from typing import Any

import pytest
from pydantic import JsonValue

from tests.unit.agents.parties import until
from zejzl_ray.agents.agent import Agent
from zejzl_ray.agents.state_keeper import StateKeeper
from zejzl_ray.errors import InvalidInput, NotSerialisable, StoreUnavailable
from zejzl_ray.testing.agents import MemoryStates


class Kept(Agent):
    """Has any state."""

    def __init__(self, state: Any = 0) -> None:
        self.state = state

    def save_state(self) -> JsonValue:
        value: JsonValue = self.state
        return value

    def load_state(self, state: JsonValue) -> None:
        if state == "broken":
            raise KeyError("version")
        self.state = state


class Stateless(Agent):
    """Has none."""


def keeper(agent: Agent, period_s: float = 100.0) -> tuple[StateKeeper, MemoryStates]:
    states = MemoryStates()
    return StateKeeper(agent, states, period_s), states


def has_failed(kept: StateKeeper) -> bool:
    outcome = kept.outcome()
    return outcome is not None and outcome.score == 0


async def test_an_agent_without_state_costs_nothing() -> None:
    kept, states = keeper(Stateless())
    assert not await kept.restore()
    kept.changed()
    await kept.save()
    await kept.close(saves=True)
    assert (states.saves, kept.outcome()) == (0, None)


async def test_a_state_comes_back_as_it_was_saved() -> None:
    agent = Kept({"seen": [1, "a", None]})
    kept, states = keeper(agent)
    assert not await kept.restore()
    await kept.close(saves=True)
    again = Kept()
    assert await StateKeeper(again, states, 1.0).restore()
    assert again.state == {"seen": [1, "a", None]}


@pytest.mark.parametrize("data", [b"{", b'"broken"'])
async def test_a_state_that_cannot_be_restored_is_never_taken_for_none(data: bytes) -> None:
    kept, states = keeper(Kept())
    states.saved["Kept"] = data
    with pytest.raises(InvalidInput, match="The saved state of Kept cannot be restored"):
        await kept.restore()


@pytest.mark.parametrize("state", [{1, 2}, {1: 2}, object()])
async def test_a_state_that_is_no_json_is_named(state: object) -> None:
    kept, states = keeper(Kept(state))
    with pytest.raises(NotSerialisable, match="save_state of Kept returned is no JSON"):
        await kept.save()
    outcome = kept.outcome()
    assert outcome is not None
    assert (outcome.score, states.saves) == (0.0, 0)


async def test_many_changes_are_one_save() -> None:
    agent = Kept()
    kept, states = keeper(agent, period_s=0.001)
    for n in range(50):
        agent.state = n
        kept.changed()
    await until(lambda: states.saves > 0)
    assert (states.saves, states.saved["Kept"]) == (1, b"49")
    await kept.close(saves=False)


async def test_who_saves_at_the_same_time_shares_a_save() -> None:
    agent = Kept()
    kept, states = keeper(agent)
    for _ in range(5):
        kept.changed()
    await asyncio.gather(*(kept.save() for _ in range(5)))
    assert states.saves == 1
    kept.changed()
    await kept.save()
    assert states.saves == 2


async def test_a_save_in_the_background_that_fails_is_repeated_and_shown() -> None:
    kept, states = keeper(Kept(), period_s=0.001)
    states.failure = StoreUnavailable("away")
    kept.changed()
    await until(lambda: has_failed(kept))
    outcome = kept.outcome()
    assert outcome is not None
    assert outcome.reason == "the state could not be saved: StoreUnavailable: away"
    states.failure = None
    await until(lambda: states.saves > 0)
    outcome = kept.outcome()
    assert outcome is not None
    assert outcome.score == 1.0
    await kept.close(saves=False)


async def test_closing_waits_for_a_save_under_way_and_ends_the_timer() -> None:
    class Slow(MemoryStates):
        async def save(self, agent: str, data: bytes) -> None:
            await asyncio.sleep(0.005)
            await super().save(agent, data)

    states = Slow()
    kept = StateKeeper(Kept(), states, 0.0001)
    kept.changed()
    await asyncio.sleep(0.002)
    kept.changed()
    await kept.close(saves=True)
    saves = states.saves
    assert saves >= 1
    await asyncio.sleep(0.01)
    assert states.saves == saves
