"""What agents need of others: the bus, the registry, and a place for their state."""

from collections.abc import Mapping
from typing import Any, Protocol

from pydantic import JsonValue

from zejzl_ray.bus.mailbox import DEFAULT_CAPACITY, Overflow
from zejzl_ray.bus.message import HIGH, Message, MessagePriority
from zejzl_ray.contracts.orchestrator import HealthStatus


class Mail(Protocol):
    """The bus of this process; ``zejzl_ray.bus.post_office.PostOffice`` is one."""

    def open_mailbox(
        self,
        agent: str,
        *,
        capacity: int = DEFAULT_CAPACITY,
        overflow: Overflow = Overflow.REJECT,
        mail_scope: str = "agents",
    ) -> object:
        """Give an agent a mailbox."""
        ...

    def close_mailbox(self, agent: str) -> list[Message]:
        """Close it and return what was in it; who waits for it gets BusClosed."""
        ...

    def is_local(self, agent: str) -> bool:
        """Tell whether an agent's mailbox is in this process."""
        ...

    async def send(self, message: Message) -> str:
        """Send, and return the id of the message."""
        ...

    async def receive(self, agent: str, timeout_s: float | None = None) -> Message:
        """Return the next message; with 0 s only one that is there already.

        Raises:
            RequestTimedOut: none came.
            BusClosed: the mailbox was closed.
        """
        ...

    async def request(self, message: Message, timeout_s: float | None = None) -> Message:
        """Send and return the reply; raises what the handler of the other agent failed with."""
        ...

    async def respond(
        self,
        request: Message,
        content: dict[str, Any],
        *,
        message_type: str = "",
        priority: MessagePriority = HIGH,
        from_agent: str = "",
    ) -> None:
        """Answer a request."""
        ...

    async def publish(self, topic: str, message: Message) -> int:
        """Send to all subscribers; return how many they are, as far as is known here."""
        ...

    def subscribe(self, agent: str, pattern: str) -> object:
        """Let an agent get what is published on topics of a pattern."""
        ...

    def unsubscribe(self, agent: str, pattern: str) -> object:
        """End it."""
        ...

    async def ack(self, message: Message, *, state: bytes | None = None) -> None:
        """Acknowledge mail that is sent at least once; nothing for other mail. ``state`` is kept in the same commit."""
        ...

    async def nack(self, message: Message, reason: str) -> None:
        """Refuse it, so that it is delivered again or becomes a dead letter."""
        ...


class Registrar(Protocol):
    """The registry of agents."""

    async def register(
        self, name: str, capabilities: tuple[str, ...], metadata: Mapping[str, JsonValue], lease_s: float
    ) -> object:
        """Register an agent, or renew the same registration.

        Raises:
            AgentHeld: another process holds it.
        """
        ...

    async def heartbeat(self, name: str, status: HealthStatus, reason: str) -> object:
        """Renew the lease.

        Raises:
            AgentNotFound: the registry has forgotten it, or another process holds it.
        """
        ...

    async def deregister(self, name: str) -> object:
        """Remove it; nothing happens when another process holds it."""
        ...


class StateStore(Protocol):
    """Where the state of agents is kept."""

    async def load(self, agent: str) -> bytes | None:
        """Return what was saved last; None when nothing was."""
        ...

    async def save(self, agent: str, data: bytes) -> None:
        """Keep it; durable when this returns."""
        ...
