"""A health port that is the agent's own port."""

from collections.abc import Iterable

from zejzl_ray.fleet.drafts import FleetContext
from zejzl_ray.fleet.finding import Finding


class HealthPorts:
    """An agent cannot listen twice on one port."""

    name = "health-port"

    def check(self, context: FleetContext) -> Iterable[Finding]:
        """Return one finding for each such agent."""
        for draft in context.running_agents:
            agent = draft.declaration
            if agent.port is not None and agent.port == agent.health_port:
                yield draft.error(
                    "health-port",
                    "health_port",
                    f"{draft.name} has {agent.port} both as its port and as its health port",
                    "Give it another health port; the old files use the port plus 1000.",
                    related=(draft.where("port", "its port"),),
                )
