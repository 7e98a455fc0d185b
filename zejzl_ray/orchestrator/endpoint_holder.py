"""Who answers at an endpoint already: two live agents never share one unless only probes can tell them apart."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from zejzl_ray.contracts.orchestrator import Agent
from zejzl_ray.errors import Conflict
from zejzl_ray.orchestrator.draft import View
from zejzl_ray.orchestrator.endpoint import endpoint_keys
from zejzl_ray.orchestrator.states import LIVE


class Holder(NamedTuple):
    """A live agent and what it holds.

    Attributes:
        agent: the holder's record.
        place: the port and where it is, in words.
    """

    agent: Agent
    place: str

    def __str__(self) -> str:
        """Return what belongs to whom, to be put into a sentence."""
        return f"{self.place} belongs to agent {self.agent.name} (state {self.agent.state.value})"


def find_holder(view: View, name: str, profile: Mapping[str, Any]) -> Holder | None:
    """Return the live agent, other than ``name``, that registered an endpoint of this profile; None when free.

    Args:
        view: the agents to look at.
        name: whose endpoint it is or shall be.
        profile: its fields ``machine``, ``host``, ``port`` and ``health_port``.
    """
    machine, host = profile["machine"], profile["host"]
    for key in endpoint_keys(machine, host, profile["port"], profile["health_port"]):
        for holder in view.endpoint_holders(key):
            other = view.agent(holder)
            if holder != name and other is not None and other.has_registered and other.state in LIVE:
                return Holder(other, f"port {key.rpartition(':')[2]} on {machine or host}")
    return None


def check_endpoint(view: View, name: str, profile: Mapping[str, Any]) -> None:
    """Refuse an endpoint that belongs to a live agent; arguments as ``find_holder``.

    Raises:
        Conflict: names the port and the holder.
    """
    holder = find_holder(view, name, profile)
    if holder is not None:
        raise Conflict(
            f"Agent {name}: {holder}.", f"Choose another port, or deregister {holder.agent.name} first."
        )
