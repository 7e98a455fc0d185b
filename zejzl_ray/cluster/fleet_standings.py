"""What the registry knows of the agents, for the observability hub."""

from collections.abc import Mapping
from typing import Final

from zejzl_ray.cluster.core_orchestrator import CoreOrchestratorClient
from zejzl_ray.contracts.caller import Caller
from zejzl_ray.contracts.orchestrator import MAX_PAGE, Agent, ListAgents
from zejzl_ray.observability.performance_bottlenecks import AgentStanding

# The key in an agent's metadata that says how long its handlers take, seconds.
EXPECTED_KEY: Final = "expected_s"


class RegistryFleet:
    """The states of all agents, asked for page by page.

    Args:
        caller: in the name of the hub; not closed here.
    """

    def __init__(self, caller: Caller) -> None:
        self._registry = CoreOrchestratorClient(caller)

    async def standings(self) -> Mapping[str, AgentStanding]:
        """Return the state of every agent.

        Raises:
            ZejzlError: the registry does not answer.
        """
        found: dict[str, AgentStanding] = {}
        cursor = ""
        while True:
            page = await self._registry.list_agents(ListAgents(cursor=cursor, limit=MAX_PAGE))
            found |= {agent.name: _standing(agent) for agent in page.agents}
            if page.next_cursor in {"", cursor}:
                return found
            cursor = page.next_cursor


def _standing(agent: Agent) -> AgentStanding:
    expected = agent.metadata.get(EXPECTED_KEY)
    if not isinstance(expected, int | float) or isinstance(expected, bool):
        return AgentStanding(state=agent.state.value)
    return AgentStanding(state=agent.state.value, expected_s=float(expected))
