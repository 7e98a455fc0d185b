"""Which process keeps an agent's name: two processes that both hold the agent must not both answer to it."""

from zejzl_ray.contracts.orchestrator import Agent
from zejzl_ray.errors import AgentHeld, AgentNotFound
from zejzl_ray.orchestrator.states import LIVE


def check_may_take(current: Agent, held_by: str) -> None:
    """Refuse a registration of another process while the agent lives where it is.

    Args:
        current: the record that would be replaced.
        held_by: who asks; empty: nobody that says who it is.

    Raises:
        AgentHeld: says who keeps the name, and what ends that.
    """
    if current.held_by in ("", held_by) or current.state not in LIVE or not current.has_registered:
        return
    raise AgentHeld(
        f"Agent {current.name} is held by {current.held_by} (state {current.state.value}).",
        f"Stop it there or deregister it; else {current.held_by} keeps it until its lease has run out.",
    )


def check_still_holds(current: Agent, held_by: str) -> None:
    """Refuse the heartbeat of a process that has lost the name; one that does not say who it is passes.

    Raises:
        AgentNotFound: it has to register again, which tells it whether it may.
    """
    if is_held_by_another(current, held_by):
        raise AgentNotFound(
            f"Agent {current.name} is not held by {held_by} any more.", "Register it again to take it back."
        )


def is_held_by_another(current: Agent, held_by: str) -> bool:
    """Tell whether a process that says who it is does not keep the name."""
    return held_by not in ("", current.held_by)
