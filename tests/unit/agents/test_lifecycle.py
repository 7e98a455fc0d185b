import pytest

from zejzl_ray.agents.lifecycle import TRANSITIONS, Lifecycle, LifeEvent, Transition
from zejzl_ray.contracts.agent_life import LifeState
from zejzl_ray.errors import Conflict


def test_a_move_is_returned_kept_and_told() -> None:
    told: list[Transition] = []
    life = Lifecycle("a", 1.0, told.append)
    assert (life.state, life.since_s) == (LifeState.STOPPED, 1.0)
    move = life.apply(LifeEvent.START, 2.0, "by hand")
    assert move == Transition("a", LifeState.STOPPED, LifeState.STARTING, LifeEvent.START, 2.0, "by hand")
    assert (life.state, life.since_s, life.reason) == (LifeState.STARTING, 2.0, "by hand")
    assert told == list(life.history) == [move]


@pytest.mark.parametrize("state", LifeState)
@pytest.mark.parametrize("event", LifeEvent)
def test_what_the_table_does_not_have_changes_nothing(state: LifeState, event: LifeEvent) -> None:
    life = Lifecycle("a", 1.0)
    life.state = state
    assert life.allows(event) == (event in TRANSITIONS[state])
    if life.allows(event):
        assert life.apply(event, 2.0).to_state is TRANSITIONS[state][event]
    else:
        with pytest.raises(Conflict, match=f"a is {state}: {event} is not possible now"):
            life.apply(event, 2.0)
        assert (life.state, life.since_s, len(life.history)) == (state, 1.0, 0)


def test_every_state_can_be_reached_and_left() -> None:
    assert set(TRANSITIONS) == set(LifeState)
    assert {to for moves in TRANSITIONS.values() for to in moves.values()} == set(LifeState)
    # whatever happens, an agent can be stopped: at once, or by what follows by itself
    assert all(
        LifeEvent.STOP in moves or state in (LifeState.STOPPED, LifeState.DRAINING)
        for state, moves in TRANSITIONS.items()
    )


def test_the_history_is_bounded() -> None:
    life = Lifecycle("a", 0.0)
    life.apply(LifeEvent.START, 0.0)
    life.apply(LifeEvent.STARTED, 0.0)
    for n in range(200):
        life.apply(LifeEvent.PAUSE if n % 2 == 0 else LifeEvent.RESUME, float(n))
    assert [move.at_s for move in life.history] == [float(n) for n in range(100, 200)]
