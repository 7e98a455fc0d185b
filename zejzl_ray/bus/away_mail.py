"""Mail to and from other processes: where it goes, and what becomes of it when it cannot."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from zejzl_ray.bus import codec
from zejzl_ray.bus.arrivals import Arrivals
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.link import PeerLink
from zejzl_ray.bus.local_mail import LocalMail
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.ports import Delivered, Directory, News, Outgoing, Refused, Speakers, Transport
from zejzl_ray.bus.undeliverable import reason_for
from zejzl_ray.errors import AgentUnreachable, BusError

_FOLLOW_S: Final = 3.0  # how long news of where an agent has moved to are waited for
_LOOK_S: Final = 0.02


class AwayMail:
    """The links of a process to others; belongs to one event loop.

    Args:
        local: the mail of this process.
        directory: where the other mailboxes are; None: nowhere.
    """

    def __init__(self, local: LocalMail, directory: Directory | None) -> None:
        self._local = local
        self._directory = directory
        self.transport: Transport | None = None
        self.links: dict[str, PeerLink] = {}
        self._arrivals = Arrivals(local)
        self._tasks: set[asyncio.Task[None]] = set()

    # --- out ---------------------------------------------------------------------------------------------------------

    def locate(self, agent: str) -> str | None:
        """Return the host that is known to hold an agent's mailbox."""
        return self._directory.locate(agent) if self._directory is not None else None

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

    def route(self, agent: str) -> str:
        """Return the process to which mail for an agent goes.

        Raises:
            UnknownAgent: nobody holds its mailbox.
            AgentUnreachable: that process could not be reached a moment ago.
        """
        host = self.locate(agent)
        if host is None or self.transport is None or host == self._local.host:
            raise self.unknown(agent)
        link = self.links.get(host)
        if link is not None and link.is_down:
            raise self._gone(agent, host, link.why_down)
        return host

    def unknown(self, agent: str) -> BusError:
        """Return the error that says that no process holds an agent's mailbox."""
        known = {*self._local.boxes, *(self._directory.known_agents() if self._directory is not None else ())}
        return self._local.unknown(agent, known)

    async def send(self, message: Message) -> None:
        """Have a message wait for the next batch to its process.

        Raises:
            ZejzlError: as ``PostOffice.send``.
        """
        local = self._local
        host = self.route(message.to_agent)
        if message.correlation_id and (pending := local.pending.get(message.correlation_id)) is not None:
            pending.host = host
        link = self.link(host)
        sent_at_s = message.sent_at_s
        message.sent_at_s = local.clock.now_s()
        encoded = codec.encode(message, local.options.max_message_bytes)
        message.sent_at_s = sent_at_s
        if not link.offer(message, encoded):
            await link.room(message, len(encoded), local.patience_s(message))
            link.offer(message, encoded)

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
        box = self._local.boxes.get(message.to_agent)
        if box is None:
            await self.send(message)
        else:
            self._local.put(box, message)

    # --- in ----------------------------------------------------------------------------------------------------------

    async def accept(self, host: str, outgoing: Outgoing, speakers: Speakers, linger_s: float) -> Delivered:
        """Take a batch of another process; see ``PostOffice.accept``."""
        messages = codec.decode_batch(outgoing.batch) if outgoing.batch else []
        link = self.link(host)
        link.end_lingering()
        link.take_returned(outgoing.returned)
        async with link.incoming.turn(outgoing.boot, outgoing.number):
            self._hear(host, outgoing.news)
            refused = await self._arrivals.take_in(host, messages, speakers, outgoing.news)
        if linger_s > 0 and outgoing.wants_reply and not link.has_mail and not refused:
            await link.linger(linger_s)
        return link.answer(tuple(refused))

    async def take_back(self, host: str, delivered: Delivered) -> list[Refused]:
        """Take what came with the answer to a batch; return what was refused."""
        self._hear(host, delivered.news)
        if not delivered.back:
            return []
        assert self.transport is not None
        messages = codec.decode_batch(delivered.back)
        async with self.link(host).incoming.turn(delivered.boot, delivered.number):
            return await self._arrivals.take_in(host, messages, self.transport.speakers(host), delivered.news)

    def _hear(self, host: str, news: News | None) -> None:
        if news is not None and self._local.durable is not None:
            self._local.durable.hear(host, news)

    # --- what does not arrive ----------------------------------------------------------------------------------------

    def refused(self, host: str, message: Message, refused: Refused) -> None:
        """Another process did not take a message: it follows its agent, comes again, or is a dead letter."""
        if message.sequence and self._local.durable is not None:
            self._local.durable.refused(host, message, refused)
        elif refused.reason is DeadLetterReason.UNKNOWN_AGENT:
            self._launch(self._follow((message,), host, refused.detail))
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
            self._launch(self._follow(others, host, why))
            return
        for message in others:
            self._local.lose(message, DeadLetterReason.UNREACHABLE, why)

    def unreachable(self, host: str, detail: str) -> None:
        """Another process is gone: end the requests that wait for its agents."""
        pending = self._local.pending
        for each in pending:
            if each.host == host:
                error = self._gone(each.message.to_agent, host, detail)
                pending.fail(each.message.correlation_id or "", error)

    async def _follow(self, messages: Sequence[Message], host: str, why: str) -> None:
        """Deliver them where their agents are now, or give them up, once; they may come after mail that was sent later."""
        local = self._local
        until_s = local.clock.monotonic_s() + _FOLLOW_S
        left = list(messages)
        while left and not local.is_closed and local.clock.monotonic_s() < until_s:
            waiting = []
            for message in left:
                now_at = self.locate(message.to_agent)
                if message.to_agent in local.boxes or (now_at is not None and now_at != host):
                    try:
                        await self.forward(message)
                    except BusError as error:
                        local.lose(message, reason_for(error), error.message)
                elif message.deadline_at_s is not None and message.deadline_at_s <= local.clock.now_s():
                    local.lose(message, DeadLetterReason.EXPIRED, why)
                else:
                    waiting.append(message)
            left = waiting
            await asyncio.sleep(_LOOK_S)
        link = self.links.get(host)
        is_gone = link is not None and link.is_down
        for message in left:
            local.lose(
                message, DeadLetterReason.UNREACHABLE if is_gone else DeadLetterReason.UNKNOWN_AGENT, why
            )

    def _gone(self, agent: str, host: str, detail: str) -> AgentUnreachable:
        now_at = self.locate(agent)
        moves_to = now_at if now_at not in (None, host) else ""
        return AgentUnreachable(
            f"{agent} cannot be reached: its process {host} is gone ({detail}).",
            f"It is at {moves_to} now: send again." if moves_to else "Send again once it is back.",
            {"to_agent": agent, "host": host, "moves_to": moves_to},
        )

    def _launch(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Close all links; what waits there goes to the dead letters."""
        for task in tuple(self._tasks):
            task.cancel()
        for link in self.links.values():
            await link.close()
