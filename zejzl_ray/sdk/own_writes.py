"""Reading one's own writes, though an ingress replica answers reads from a copy that may lag a little."""

from typing import Final

from zejzl_ray.clock import Clock
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.orchestrator import (
    SERVICE,
    Agent,
    AgentDeregistered,
    AgentsRegistered,
    FleetDeclared,
    HeartbeatAccepted,
)

# reads that a replica answers from its copy of the agents
_COPY_READS: Final = frozenset({"get_agent", "list_agents"})
# a replica refuses to read from a copy older than 5 s; twice that, and every copy holds the write
_REMEMBERED_S: Final = 10.0


class OwnWrites:
    """Remembers the revision of the last write, and asks reads that come soon after it for at least that one.

    Args:
        clock: where the age of a write is read.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._revision = 0
        self._until_s = 0.0

    def note(self, operation: Operation, reply: Contract) -> None:
        """Remember the revision of ``reply`` when ``operation`` wrote to the registry of agents."""
        if operation.verb == "GET":
            return
        if isinstance(
            reply, Agent | AgentsRegistered | HeartbeatAccepted | AgentDeregistered | FleetDeclared
        ):
            self._revision = max(self._revision, reply.revision)
            self._until_s = self._clock.monotonic_s() + _REMEMBERED_S

    def query(self, operation: Operation) -> tuple[tuple[str, str], ...]:
        """Return what a read adds to its query parameters."""
        is_copy = operation.service == SERVICE and operation.name in _COPY_READS
        if is_copy and self._revision and self._clock.monotonic_s() < self._until_s:
            return (("min_revision", str(self._revision)),)
        return ()
