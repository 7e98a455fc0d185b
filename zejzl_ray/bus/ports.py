"""What the bus needs of others: where agents are, the way to other processes, and who may write to whom."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.mailbox import Mailbox
from zejzl_ray.bus.message import Message

if TYPE_CHECKING:
    from zejzl_ray.bus.post_office import PostOffice


class Directory(Protocol):
    """Which process holds whose mailbox; answers from memory, never waits."""

    def locate(self, agent: str) -> str | None:
        """Return the host that holds an agent's mailbox; None when nobody is known to."""
        ...

    def known_agents(self) -> Sequence[str]:
        """Return the names that ``locate`` finds, sorted."""
        ...

    def subscribers(self, topic: str) -> Sequence[tuple[str, str]]:
        """Return (agent, host) of those on other hosts who subscribed to a topic."""
        ...


class Speakers(Protocol):
    """For which agents another process speaks, and to whom these may write."""

    def why_refused(self, from_agent: str, box: Mailbox | None) -> str:
        """Return why a message may not come in, empty when it may; ``box`` is the receiver's, None when it has none."""
        ...


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that the receiving process did not take.

    Attributes:
        message_id: which.
        reason: why.
        detail: the same for people.
    """

    message_id: str
    reason: DeadLetterReason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A batch on its way to another process.

    Attributes:
        boot: of the sending process; another one at every start.
        number: of the batch among all that go this way, from 1; 0 when it holds no messages.
        batch: the messages (``codec.join``); may be empty.
        wants_reply: it is worth to wait a moment for a reply before answering: the sender has nothing else to do.
        settled: sequences of the other's outbox that were acknowledged here.
        oldest_unsettled: the oldest sequence of this process's outbox that is not settled; 0 when there is none.
        returned: what this process did not take of the messages that came back with earlier answers.
    """

    boot: str
    number: int = 0
    batch: bytes = b""
    wants_reply: bool = False
    settled: tuple[int, ...] = ()
    oldest_unsettled: int = 0
    returned: tuple[Refused, ...] = ()


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of a batch, and what comes back.

    Attributes:
        boot: of the process that took it.
        refused: what was not taken; everything else is in its mailbox.
        number: of the batch that comes back, counted as ``Outgoing.number``; 0 when there is none.
        back: messages for the sender that were there when the answer was given; a batch, or empty.
        settled: sequences of the sender's outbox that were acknowledged there.
        oldest_unsettled: as for ``Outgoing``, of the process that answers.
    """

    boot: str = ""
    refused: tuple[Refused, ...] = ()
    number: int = 0
    back: bytes = b""
    settled: tuple[int, ...] = ()
    oldest_unsettled: int = 0


class Transport(Protocol):
    """The way to other processes."""

    async def deliver(self, host: str, outgoing: Outgoing) -> Delivered:
        """Bring a batch to another process, in order with earlier ones of the same host.

        Raises:
            AgentUnreachable: that process is gone or did not answer; what it took is not known.
            SenderRefused: it does not let this process in.
        """
        ...

    def speakers(self, host: str) -> Speakers:
        """Return for whom another process may speak in what comes back with its answers."""
        ...


class Durable(Protocol):
    """Keeps mail that is sent at least once, at the sender's and at the receiver's end."""

    def attach(self, office: "PostOffice") -> None:
        """Get to know the bus that it serves; called once, before anything else."""
        ...

    async def send(self, message: Message) -> None:
        """Keep a message, then have it delivered; returns as soon as it is kept."""
        ...

    def arrived(self, host: str, message: Message) -> Refused | None:
        """Take a message of another process's outbox: put it into its mailbox unless it was seen; return why not."""
        ...

    async def ack(self, message: Message) -> None:
        """Write down that a message is done with, and let its sender's outbox know."""
        ...

    async def nack(self, message: Message, reason: str) -> None:
        """Let a message come again."""
        ...

    def hear(self, host: str, settled: Sequence[int], oldest_unsettled: int) -> None:
        """Learn what another process says: what of this outbox is acknowledged, and from where on its own is open."""
        ...

    def refused(self, host: str, message: Message, refused: Refused) -> None:
        """Learn that another process did not take a message of this outbox."""
        ...

    def unsent(self, host: str, messages: Sequence[Message]) -> None:
        """Learn that messages of this outbox may not have reached another process."""
        ...

    def lost(self, message: Message) -> None:
        """Learn that a message became a dead letter: it is settled."""
        ...

    def settled_for(self, host: str) -> tuple[int, ...]:
        """Take what another process's outbox is to be told: sequences acknowledged here."""
        ...

    def tell_again(self, host: str, settled: Sequence[int]) -> None:
        """Give back what ``settled_for`` took and what may not have been heard."""
        ...

    def oldest_unsettled(self, host: str) -> int:
        """Return the oldest sequence of this outbox that is not settled; 0 when there is none."""
        ...
