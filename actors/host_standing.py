"""What became of a host of agents."""

from dataclasses import dataclass
from typing import Final

from zejzl_ray.contracts.agent_life import AgentInfo, LifeState

NOT_RUNNING: Final = frozenset({LifeState.FAILED, LifeState.BACKING_OFF})


@dataclass(frozen=True, slots=True)
class HostStanding:
    """What became of one host.

    Attributes:
        name: of the host.
        machine: where it is meant to run.
        agents: all of its agents, as they are.
        problem: why it does not run, empty when it does.
    """

    name: str
    machine: str
    agents: tuple[AgentInfo, ...] = ()
    problem: str = ""

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong, one line each: the host, or single agents."""
        if self.problem:
            return (f"the host {self.name} does not run: {self.problem}",)
        return tuple(
            f"the agent {agent.name} of the host {self.name} is {agent.state}: {agent.reason or 'no reason given'}"
            for agent in self.agents
            if agent.state in NOT_RUNNING
        )
