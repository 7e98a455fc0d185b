"""What the bus needs of others: where agents are, the way to other processes, and who may write to whom."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.handling import Handlings
from zejzl_ray.bus.mailbox import Mailbox
from zejzl_ray.bus.message import Message


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

    def is_unproved(self, from_agent: str) -> bool:
        """Whether an agent is refused for lack of a proof that counts alone: one may be shown soon."""
        ...


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that the receiving process did not take.

    Attributes:
        message_id: which.
        reason: why.
        detail: the same for people.
        is_later: it may come again: the mailbox is full, and its policy is to let senders wait. Until then, mail for
            the same mailbox is taken in patient batches only, so that it keeps its order.
    """

    message_id: str
    reason: DeadLetterReason
    detail: str = ""
    is_later: bool = False


@dataclass(frozen=True, slots=True)
class News:
    """What one process tells another of mail that is sent at least once.

    Attributes:
        origin: identity of the outbox that the messages of this batch come from; empty when it has none.
        oldest: receiver -> the oldest sequence of that outbox that is not settled, for the receivers of this batch.
        settled: origin of an outbox of the other process -> sequences that are acknowledged here.
        rejected: the same -> (sequence, reason, detail) of those that were given up here.
        welcome: the same -> sequences that this process does not have, and would take now: their mailbox was closed
            before they were acknowledged, or their inbox is open by now.
    """

    origin: str = ""
    oldest: dict[str, int] = field(default_factory=dict)
    settled: dict[str, tuple[int, ...]] = field(default_factory=dict)
    rejected: dict[str, tuple[tuple[int, DeadLetterReason, str], ...]] = field(default_factory=dict)
    welcome: dict[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A batch on its way to another process.

    Attributes:
        boot: of the sending process; another one at every start.
        number: of the batch among all that go this way, from 1; 0 when it holds no messages.
        batch: the messages (``codec.join``); may be empty.
        wants_reply: it is worth to wait a moment for a reply before answering: the sender has nothing else to do.
        news: of mail that is sent at least once; None when there is none.
        returned: what this process did not take of the messages that came back with earlier answers.
        call: number of this call among all that go this way, from 1.
        unanswered: earlier calls that failed: the mail in their answers did not come.
        skipped: numbers of the batches of earlier calls that failed: they are not to be waited for.
        ended: every call up to this one has ended; of those that failed the last ones stand in ``unanswered``.
        is_patient: it holds nothing but mail that had to come later; it may wait a while for room, and stands outside
            of the order of the other batches.
    """

    boot: str
    number: int = 0
    batch: bytes = b""
    wants_reply: bool = False
    news: News | None = None
    returned: tuple[Refused, ...] = ()
    call: int = 0
    unanswered: tuple[int, ...] = ()
    ended: int = 0
    skipped: tuple[int, ...] = ()
    is_patient: bool = False


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of a batch, and what comes back.

    Attributes:
        boot: of the process that took it.
        refused: what was not taken; everything else is in its mailbox.
        number: of the batch that comes back, counted as ``Outgoing.number``; 0 when there is none.
        back: messages for the sender that were there when the answer was given; a batch, or empty.
        news: as for ``Outgoing``, of the process that answers.
    """

    boot: str = ""
    refused: tuple[Refused, ...] = ()
    number: int = 0
    back: bytes = b""
    news: News | None = None


class Transport(Protocol):
    """The way to other processes."""

    async def deliver(self, host: str, outgoing: Outgoing) -> Delivered:
        """Bring a batch to another process, in order with earlier ones of the same host.

        Raises:
            AgentUnreachable: that process is gone, and with it what it took.
            DeadlineExceeded: it did not answer in time; what it took is not known.
            Unavailable: it lives and took nothing, for now.
            SenderRefused: it does not let this process in.
        """
        ...

    def speakers(self, host: str) -> Speakers:
        """Return for whom another process may speak in what comes back with its answers."""
        ...

    def watch(self, host: str) -> None:
        """Have the end of another process told at once from now on; mail went to it without ``deliver``."""
        ...


class Loses(Protocol):
    """Where mail goes that cannot be delivered."""

    def lose(self, message: Message, reason: DeadLetterReason, detail: str) -> None:
        """Put a message to the dead letters, and end the request that waits for it."""
        ...


class Carrier(Loses, Protocol):
    """The bus of the process, as mail that is kept sees it."""

    def put(self, message: Message) -> None:
        """Put a message into a mailbox of this process, above all checks.

        Raises:
            UnknownAgent, MailboxFull: it cannot be.
        """
        ...

    def is_local(self, agent: str) -> bool:
        """Whether this process holds the mailbox of an agent."""
        ...

    @property
    def handlings(self) -> Handlings:
        """The handlers at work in this process."""
        ...

    def carry(self, agent: str, mail: Iterable[tuple[Message, bytes]]) -> tuple[str, int]:
        """Have messages that are kept wait for the next batches to the process that holds their mailbox.

        Args:
            agent: the receiver of all of them.
            mail: each as it is and as bytes, in their order.

        Returns:
            which process, and how many found room on the way there.

        Raises:
            ZejzlError: they cannot go there now.
        """
        ...

    def tell(self, host: str) -> None:
        """See to it that another process hears the news for it soon, also when no mail goes there."""
        ...


class Durable(Protocol):
    """Keeps mail that is sent at least once, at the sender's and at the receiver's end.

    At the sender's end a message is one of this process's outbox, at the receiver's one that waits in a mailbox here;
    it may be both.
    """

    def attach(self, carrier: Carrier) -> None:
        """Get to know the bus that it serves; called once, before anything else."""
        ...

    async def send(self, message: Message) -> None:
        """Keep a message, then have it delivered; returns as soon as it is kept."""
        ...

    def arrived(self, host: str, origin: str, message: Message) -> Refused | None:
        """Take a message of an outbox: put it into its mailbox unless it was seen; return why not."""
        ...

    def handed_out(self, message: Message) -> None:
        """Learn that a message leaves its mailbox."""
        ...

    async def ack(self, message: Message, state: bytes | None) -> None:
        """Have it written down that a message is done with, and its sender's outbox told; does not wait for that."""
        ...

    def nack(self, message: Message, reason: str) -> None:
        """Let a message come again, a limited number of times."""
        ...

    def mailbox_closed(self, agent: str) -> None:
        """Learn that a mailbox is closed: what was in it, or was not acknowledged, comes again once it is open anew."""
        ...

    def lost(self, message: Message, reason: DeadLetterReason, detail: str) -> None:
        """Learn that a message became a dead letter: it is settled at its outbox."""
        ...

    def hear(self, host: str, news: News) -> None:
        """Learn what another process says."""
        ...

    def news_for(self, host: str, messages: Sequence[Message]) -> News | None:
        """Take what another process is to be told with these messages; None when there is nothing."""
        ...

    def tell_again(self, host: str, news: News) -> None:
        """Give back news that may not have been heard."""
        ...

    def delivered(self, host: str, boot: str, messages: Sequence[Message]) -> None:
        """Learn that another process has taken messages of this outbox."""
        ...

    def refused(self, host: str, message: Message, refused: Refused) -> None:
        """Learn that another process did not take a message of this outbox."""
        ...

    def unsent(self, host: str, messages: Sequence[Message]) -> None:
        """Learn that messages of this outbox may not have reached another process."""
        ...

    def host_gone(self, host: str) -> None:
        """Learn that another process is gone with what it held."""
        ...
