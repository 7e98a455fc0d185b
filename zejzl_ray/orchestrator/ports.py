"""What the registry needs from outside: small Protocols; the composition root hands in the real things.

The store and the clock have Protocols of their own (``zejzl_ray.store.protocol.Store``,
``zejzl_ray.clock.Clock``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from zejzl_ray.contracts.orchestrator import AgentEvent


@dataclass(frozen=True, slots=True)
class ProbeOutcome:
    """What one probe found.

    Attributes:
        is_answering: something accepted the connection.
        reason: why not; empty when it did.
    """

    is_answering: bool
    reason: str = ""


class Prober(Protocol):
    """Finds out whether something answers at an address."""

    async def probe(self, host: str, port: int, timeout_s: float) -> ProbeOutcome:
        """Return the outcome within ``timeout_s``; never raises for a peer that is away."""
        ...


class Publisher(Protocol):
    """Takes the registry's events on, for example to the message bus."""

    def publish(self, events: Sequence[AgentEvent]) -> None:
        """Take committed events in the order of their revisions. Must return at once and not raise."""
        ...
