"""Mail to and from other processes: where it goes, and what becomes of it when it cannot."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Final

from zejzl_ray.bus import codec
from zejzl_ray.bus.arrivals import Arrivals
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.link import PeerLink
from zejzl_ray.bus.local_mail import LocalMail
from zejzl_ray.bus.mailbox import Overflow
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.moved_mail import MovedMail
from zejzl_ray.bus.ports import Delivered, Directory, News, Outgoing, Refused, Speakers, Transport
from zejzl_ray.errors import AgentUnreachable, BusError, MailboxFull

_LOOK_S: Final = 0.01


class AwayMail:
    """The links of a process to others; belongs to one event loop.

    Args:
        local: the mail of this process.
        directory: where the other mailboxes are; None: nowhere.
    """

    def __init__(self, local: LocalMail, directory: Directory | None) -> None:
        self._local = local
        self._directory = directory
        self._most_bytes = local.options.max_message_bytes
        self.transport: Transport | None = None
        self.links: dict[str, PeerLink] = {}
        self._arrivals = Arrivals(local)
        self._moved = MovedMail(local, self.locate, self.forward)

    # --- out ---------------------------------------------------------------------------------------------------------

    def locate(self, agent: str) -> str | None:
        """Return the host that is known to hold an agent's mailbox."""
        known = self._directory.locate(agent) if self._directory is not None else None
        if known is None:
            return self._arrivals.asked_from(agent)
        if self._arrivals.has_asked:
            self._arrivals.is_known(agent)
        return known

    def subscribers(self, topic: str) -> list[str]:
        """Return the agents of other processes that subscribed to a topic."""
        if self._directory is None:
            return []
        local = self._local
        return [
            agent
            for agent, host in self._directory.subscribers(topic)
            if host != local.host and agent not in local.boxes
        ]

    def _way(self, agent: str) -> PeerLink:
        """Return the link to the process to which mail for an agent goes.

        Raises:
            UnknownAgent: nobody holds its mailbox.
            AgentUnreachable: that process could not be reached a moment ago.
        """
        host = self.locate(agent)
        if host is None or self.transport is None or host == self._local.host:
            raise self.unknown(agent)
        link = self.links.get(host)
        if link is None:
            return self.link(host)
        if link.down_until_s and link.is_down:
            raise self.gone(agent, host, link.why_down)
        return link

    def unknown(self, agent: str) -> BusError:
        """Return the error that says that no process holds an agent's mailbox."""
        known = {*self._local.boxes, *(self._directory.known_agents() if self._directory is not None else ())}
        return self._local.unknown(agent, known)

    async def send(self, message: Message) -> None:
        """Have a message wait for the next batch to its process.

        Raises:
            ZejzlError: as ``PostOffice.send``.
        """
        if (waiting := self.offer(message)) is not None:
            await waiting

    def offer(self, message: Message) -> Coroutine[Any, Any, None] | None:
        """Have a message wait for the next batch to its process, as ``send``; nearly always without a coroutine.

        Returns:
            None, or what waits for room for it; it has to be awaited at once.

        Raises:
            ZejzlError: as ``PostOffice.send``.
        """
        local = self._local
        if local.is_closed:
            raise self.unknown(message.to_agent)
        correlation_id = message.correlation_id
        if correlation_id is not None and local.is_reply(message, is_own=True):
            return None  # to somebody of this process who has no mailbox
        link = self._way(message.to_agent)
        if correlation_id is not None and (pending := local.pending.get(correlation_id)) is not None:
            if message.from_agent not in local.boxes:
                raise local.unknown(message.from_agent, set(local.boxes))  # its reply could not come back
            pending.host = link.host
        sent_at_s, expires_s = message.sent_at_s, message.expires_s
        message.sent_at_s, message.expires_s = local.now_s(), None
        try:
            encoded = codec.encode(message, self._most_bytes)
        finally:
            message.sent_at_s, message.expires_s = sent_at_s, expires_s
        if link.offer(message, encoded):
            return None
        return link.enqueue(message, encoded, local.patience_s(message))

    def carry(self, agent: str, mail: Iterable[tuple[Message, bytes]]) -> tuple[str, int]:
        """Have messages that are kept wait for the next batches to their process; see ``PostOffice.carry``."""
        if self._local.is_closed:
            raise self.unknown(agent)
        link, pending = self._way(agent), self._local.pending
        carried = 0
        for message, encoded in mail:
            if not link.offer(message, encoded):
                break
            carried += 1
            if message.correlation_id is not None and pending.is_request(message):
                request = pending.get(message.correlation_id)
                assert request is not None
                request.host = link.host
        return link.host, carried

    def refuse_to_wait(self, message: Message) -> None:
        """Raise MailboxFull where a message might have to wait for room on its way."""
        link = self.links.get(self.locate(message.to_agent) or "")
        if link is not None and link.may_be_full:
            raise MailboxFull(
                f"The way to {link.host} is full: {len(link)} messages wait for it.",
                "Send later, or spread the agents over more hosts.",
                {"to_agent": message.to_agent, "host": link.host},
            )

    def link(self, host: str) -> PeerLink:
        """Return the link to another process."""
        link = self.links.get(host)
        if link is None:
            link = self.links[host] = PeerLink(host, self, self._local, self._local.options)
        return link

    async def forward(self, message: Message) -> None:
        """Bring a message that has been sent before on its way: here, or to the process that holds the mailbox now.

        Raises:
            ZejzlError: it cannot go there now.
        """
        local = self._local
        box = local.boxes.get(message.to_agent)
        if box is None:
            await self.send(message)
            return
        if local.pending.is_request(message) and (pending := local.pending.get(message.correlation_id or "")):
            pending.host = ""
        if box.overflow is Overflow.WAIT and box.makes_wait:
            await box.room(message, local.patience_s(message))
        local.put(box, message)

    # --- in ----------------------------------------------------------------------------------------------------------

    async def accept(self, host: str, outgoing: Outgoing, speakers: Speakers, linger_s: float) -> Delivered:
        """Take a batch of another process; see ``PostOffice.accept``."""
        messages, refused = _read(outgoing.batch)
        if outgoing.is_patient:
            refused += await self._arrivals.take_in(host, messages, speakers, None, is_patient=True)
            return Delivered(self._local.boot, tuple(refused))
        link = self.link(host)
        link.begin_turn(outgoing)
        async with link.incoming.turn(outgoing.boot, outgoing.number):
            self._hear(host, outgoing.news)
            refused += await self._arrivals.take_in(host, messages, speakers, outgoing.news)
        if linger_s > 0 and outgoing.wants_reply and not link.has_mail and not refused:
            await link.linger(linger_s)
        return link.answer(outgoing.call, tuple(refused))

    async def take_back(self, host: str, delivered: Delivered) -> list[Refused]:
        """Take what came with the answer to a batch; return what was refused."""
        self._hear(host, delivered.news)
        if not delivered.back:
            return []
        assert self.transport is not None
        messages, refused = _read(delivered.back)
        speakers = self.transport.speakers(host)
        async with self.link(host).incoming.turn(delivered.boot, delivered.number):
            return refused + await self._arrivals.take_in(host, messages, speakers, delivered.news)

    def _hear(self, host: str, news: News | None) -> None:
        if news is not None and self._local.durable is not None:
            self._local.durable.hear(host, news)

    # --- what does not arrive ----------------------------------------------------------------------------------------

    def refused(self, host: str, message: Message, refused: Refused) -> None:
        """Another process did not take a message: it follows its agent, comes again, or is a dead letter."""
        if message.sequence and self._local.durable is not None:
            self._local.durable.refused(host, message, refused)
        elif refused.reason is DeadLetterReason.UNKNOWN_AGENT:
            self._moved.follow(host, (message,), refused.reason, refused.detail)
        else:
            self._local.lose(message, refused.reason, refused.detail)

    def unsent(self, host: str, messages: Sequence[Message], why: str, *, may_follow: bool) -> None:
        """Messages cannot go to a process, or may not have got there.

        Args:
            host: which.
            messages: in their order.
            why: for people.
            may_follow: they are surely not there, so they may go to where their agents are now.
        """
        kept = [message for message in messages if message.sequence]
        if kept and self._local.durable is not None:
            self._local.durable.unsent(host, kept)
        others = [message for message in messages if not message.sequence]
        if may_follow and others:
            self._moved.follow(host, others, DeadLetterReason.UNREACHABLE, why)
            return
        for message in others:
            self._local.lose(message, DeadLetterReason.UNREACHABLE, why)

    def unreachable(self, host: str, detail: str, left: Sequence[Message]) -> None:
        """Another process is gone: end the requests that wait for its agents; those in ``left`` follow their agents."""
        if self._local.durable is not None:
            self._local.durable.host_gone(host)
        pending = self._local.pending
        follow = {message.id for message in left}
        for each in pending:
            if each.host == host and each.message.id not in follow:
                error = self.gone(each.message.to_agent, host, detail)
                pending.fail(each.message.correlation_id or "", error)

    def gone(self, agent: str, host: str, detail: str) -> AgentUnreachable:
        """Return the error that says that an agent's process is gone, and where it moves to, if that is known."""
        now_at = self.locate(agent)
        moves_to = now_at if now_at not in (None, host) else ""
        return AgentUnreachable(
            f"{agent} cannot be reached: its process {host} is gone ({detail}).",
            f"It is at {moves_to} now: send again." if moves_to else "Send again once it is back.",
            {"to_agent": agent, "host": host, "moves_to": moves_to},
        )

    async def flush(self, timeout_s: float) -> bool:
        """Wait until nothing waits for other processes any more; see ``PostOffice.flush``."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + timeout_s
        while len(self._moved) or not all(link.is_idle for link in self.links.values()):
            if loop.time() >= until_s:
                return False
            await asyncio.sleep(_LOOK_S)
        return True

    async def close(self) -> None:
        """Close all links; what waits there goes to the dead letters."""
        await self._moved.close()
        for link in tuple(self.links.values()):
            await link.close()


def _read(batch: bytes) -> tuple[list[Message], list[Refused]]:
    """Return the messages of a batch, and those that cannot be read."""
    if not batch:
        return [], []
    messages, unreadable = codec.read_batch(batch)
    why = DeadLetterReason.NOT_SERIALISABLE
    return messages, [Refused(message_id, why, detail) for message_id, detail in unreadable]
