"""Mail between hosts: connections and their proofs over Ray's actor calls, which also tell at once that a host died.

The batches themselves go to the address that the other host names when a connection is opened.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.frames import decode_delivered, encode_frame
from zejzl_ray.bus.ports import Delivered, Outgoing
from zejzl_ray.clock import Clock
from zejzl_ray.cluster.mail_proofs import Shown
from zejzl_ray.cluster.mail_reception import VALID_S, Identifies, ProvedSpeakers
from zejzl_ray.cluster.names import agent_host_name
from zejzl_ray.contracts.agent_host import (
    SERVICE,
    DeliverMail,
    HoldLine,
    MailDelivered,
    MailOpened,
    OpenMail,
)
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.caller import Caller
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.services import BY_SERVICE
from zejzl_ray.errors import (
    AgentUnreachable,
    DeadlineExceeded,
    Forbidden,
    NotFound,
    Overloaded,
    SenderRefused,
    ServiceUnavailable,
    Unauthenticated,
    Unavailable,
    ZejzlError,
)
from zejzl_ray.ids import new_id
from zejzl_ray.log import get_logger

_RENEW_SHARE: Final = 0.5  # of a connection's time, and of that of the token in it that ends first
_OPEN_S: Final = 5.0
_LINE_S: Final = 2.0  # a host that is frozen is noticed after this and a call's time limit, 7 s in all
_LINE_PAUSE_S: Final = 1.0  # after a host that lives did not let the line in
_SOONEST_S: Final = 1.0  # between two openings of a connection that lacks proofs; doubles up to
_LATEST_S: Final = 60.0
_UNUSED_S: Final = 900.0
_MANY_PEERS: Final = 64  # from here on those that were not used for long are forgotten
_OPERATIONS: Final = BY_SERVICE[SERVICE]
_log = get_logger("agent_host")

Proofs = Callable[[str], Awaitable[Shown]]


class Ways(Protocol):
    """The addresses of other hosts; a ``MailCalls``."""

    def lead(self, actor: str, address: str) -> None:
        """Have batches for a host go to an address, ``host:port``."""
        ...

    def forget(self, actor: str) -> None:
        """Close the way to a host; safe to repeat."""
        ...


@dataclass(slots=True)
class _Peer:
    """What is known of another host.

    Attributes:
        connection: the open one; empty when there is none.
        asked: the agents that there were when it was opened; of some there may have been no proof.
        valid_until_s: end of the connection.
        renew_at_s: when to open it anew.
        opened_at_s: when it was opened.
        pause_s: least time until it is opened again because proofs were missing.
        is_early: it is opened again because proofs were missing.
        used_at_s: when mail went there last.
        opening: held while it is opened.
        line: waits with the host for as long as its end must be told.
    """

    deliver: Operation
    open: Operation
    hold: Operation
    speakers: ProvedSpeakers
    connection: str = ""
    asked: frozenset[str] = frozenset()
    valid_until_s: float = 0.0
    renew_at_s: float = 0.0
    opened_at_s: float = 0.0
    pause_s: float = _SOONEST_S
    is_early: bool = False
    used_at_s: float = 0.0
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    line: asyncio.Task[None] | None = None

    def is_idle(self, now_s: float) -> bool:
        """Whether nothing is lost when it is forgotten."""
        has_line = self.line is not None and not self.line.done()
        return not has_line and not self.opening.locked() and now_s - self.used_at_s > _UNUSED_S


class MailTransport:
    """A ``Transport`` of the bus between actors named ``agent_host:NAME``.

    The end of a host that mail went to is told within a second, also when the mail went there with an answer: a call
    waits there for as long as a connection would count after its last use, and longer where requests wait.

    Args:
        host: name of this host.
        boot: of this process.
        caller: calls in this host's name, over actor handles.
        ways: told where batches for a host go.
        direct: brings the batches there, in this host's name.
        guard: checks the proofs that others show.
        proofs: gives those of this host's agents for another host.
        agents: the names of this host's agents now.
        is_awaited: whether requests of this process wait for a host.
        on_gone: told (host, why) when a host that mail went to has died.
        clock: source of time.
    """

    def __init__(
        self,
        host: str,
        boot: str,
        *,
        caller: Caller,
        ways: Ways,
        direct: Caller,
        guard: Identifies,
        proofs: Proofs,
        agents: Callable[[], Sequence[str]],
        is_awaited: Callable[[str], bool],
        on_gone: Callable[[str, str], None],
        clock: Clock,
    ) -> None:
        self._host = host
        self._boot = boot
        self._caller = caller
        self._ways = ways
        self._direct = direct
        self._guard = guard
        self._proofs = proofs
        self._agents = agents
        self._is_awaited = is_awaited
        self._on_gone = on_gone
        self._clock = clock
        self._peers: dict[str, _Peer] = {}
        self._is_closed = False

    async def deliver(self, host: str, outgoing: Outgoing) -> Delivered:
        """Bring a batch to a host and return its answer.

        Raises:
            AgentUnreachable: the host is gone.
            DeadlineExceeded: it did not answer in time; what it took is not known.
            Unavailable: it lives and took nothing, for now.
            SenderRefused: it does not let this host in.
        """
        peer = self._peer(host)
        frame = encode_frame(outgoing)
        try:
            answer = await self._deliver(host, peer, frame)
        except (ServiceUnavailable, NotFound) as error:
            raise AgentUnreachable(error.message, "Send again once it is back.", {"host": host}) from None
        except (Forbidden, Unauthenticated) as error:
            raise SenderRefused(
                f"Host {host} does not let {self._host} in: {error.message}", error.remedy, {"host": host}
            ) from None
        assert isinstance(answer, MailDelivered)
        delivered = decode_delivered(answer.frame)
        if any(refused.reason is DeadLetterReason.UNPROVED for refused in delivered.refused):
            self._open_soon(peer)
        if delivered.back:
            peer.speakers.begin_batch()
        return delivered

    def speakers(self, host: str) -> ProvedSpeakers:
        """Return for whom a host speaks in what it sends back."""
        return self._peer(host).speakers

    def watch(self, host: str) -> None:
        """Have the end of a host told at once from now on; costs nothing where it is so already."""
        self._watch(host, self._peer(host))

    async def close(self) -> None:
        """Let all lines go, and open no others; safe to repeat."""
        self._is_closed = True
        lines = [peer.line for peer in self._peers.values() if peer.line is not None]
        for line in lines:
            line.cancel()
        if lines:
            await asyncio.wait(lines, timeout=2)

    async def _deliver(self, host: str, peer: _Peer, frame: bytes) -> Contract:
        """Bring a batch, over a new connection where the old one was not known there."""
        for is_last in (False, True):
            connection = await self._connection(host, peer)
            self._watch(host, peer)
            try:
                return await self._direct.call(
                    peer.deliver, DeliverMail(connection=connection, frame=frame), CallContext()
                )
            except (NotFound, ServiceUnavailable) as error:
                if peer.connection == connection:
                    peer.connection = ""
                # Not found: it was started anew, or the connection's time is over, and nothing was taken.
                if is_last or not isinstance(error, NotFound):
                    raise
        raise AssertionError("unreachable: the loop returns or raises")

    def _peer(self, host: str) -> _Peer:
        peer = self._peers.get(host)
        if peer is None:
            now_s = self._clock.monotonic_s()
            if len(self._peers) >= _MANY_PEERS:
                for name, each in tuple(self._peers.items()):
                    if each.is_idle(now_s):
                        self._ways.forget(each.open.service)
                        del self._peers[name]
            actor = agent_host_name(host)
            peer = self._peers[host] = _Peer(
                deliver=_OPERATIONS["deliver_mail"].at(actor),
                open=_OPERATIONS["open_mail"].at(actor),
                hold=_OPERATIONS["hold_line"].at(actor),
                speakers=ProvedSpeakers(host, self._guard, self._clock, here=self._host),
                used_at_s=now_s,
            )
        return peer

    # --- connections -------------------------------------------------------------------------------------------------

    def _is_open(self, peer: _Peer) -> bool:
        if peer.speakers.has_missed:
            self._open_soon(peer)
        return (
            bool(peer.connection)
            and self._clock.monotonic_s() < peer.renew_at_s
            and peer.asked.issuperset(self._agents())
        )

    def _open_soon(self, peer: _Peer) -> None:
        """Show the proofs again: one was missing, on one of the two sides."""
        peer.is_early = True
        peer.renew_at_s = min(peer.renew_at_s, peer.opened_at_s + peer.pause_s)

    async def _connection(self, host: str, peer: _Peer) -> str:
        """Return an open connection."""
        if self._is_open(peer):
            return peer.connection
        async with peer.opening:
            if self._is_open(peer):  # somebody else has just opened it
                return peer.connection
            try:
                return await self._open(host, peer)
            except DeadlineExceeded as error:  # slow, or dead: the line says which
                self._watch(host, peer)
                raise Overloaded(f"Host {host} opens no connection: {error.message}", error.remedy) from None
            except Unavailable:
                now_s = self._clock.monotonic_s()
                if not peer.connection or now_s >= peer.valid_until_s:
                    raise
                # None is opened now, by a host without news of revocations perhaps; the old one still counts.
                peer.renew_at_s, peer.asked = now_s + _SOONEST_S, frozenset(self._agents())
                return peer.connection

    async def _open(self, host: str, peer: _Peer) -> str:
        asked = frozenset(self._agents())
        shown = await self._proofs(host)
        request = OpenMail(host=self._host, boot=self._boot, speakers=shown.speakers)
        limit_s = self._clock.now_s() + _OPEN_S
        opened = await self._caller.call(
            peer.open, request, CallContext(deadline_at_s=limit_s, request_id=new_id())
        )
        assert isinstance(opened, MailOpened)
        self._ways.lead(peer.open.service, opened.address)
        await peer.speakers.prove(opened.speakers)
        now_s = self._clock.monotonic_s()
        has_new = not asked <= peer.asked  # an agent that has just come does not wait for what others lack
        peer.connection, peer.asked, peer.opened_at_s = opened.connection, asked, now_s
        peer.valid_until_s = now_s + opened.valid_s
        peer.renew_at_s = now_s + max(_SOONEST_S, min(opened.valid_s, shown.life_s) * _RENEW_SHARE)
        peer.pause_s = min(_LATEST_S, peer.pause_s * 2) if peer.is_early and not has_new else _SOONEST_S
        peer.is_early = False
        if not asked <= shown.agents:
            self._open_soon(peer)
        return peer.connection

    # --- lines -------------------------------------------------------------------------------------------------------

    def _watch(self, host: str, peer: _Peer) -> None:
        peer.used_at_s = self._clock.monotonic_s()
        if (peer.line is None or peer.line.done()) and not self._is_closed:
            peer.line = asyncio.create_task(self._hold(host, peer), name=f"line to {host}")

    async def _hold(self, host: str, peer: _Peer) -> None:
        """Wait with the other host; its death ends the call at once, which an idle link would not notice."""
        while self._clock.monotonic_s() - peer.used_at_s < VALID_S or self._is_awaited(host):
            try:
                await self._caller.call(peer.hold, HoldLine(timeout_s=_LINE_S), CallContext())
            except (ServiceUnavailable, DeadlineExceeded) as error:
                peer.connection = ""
                self._on_gone(host, error.message)
                return
            except Exception as error:
                # Not let in, or busy: it lives. Whether it dies meanwhile, the next call says.
                if not isinstance(error, ZejzlError):
                    _log.exception("a line failed; it is held again", host=host)
                await asyncio.sleep(_LINE_PAUSE_S)
