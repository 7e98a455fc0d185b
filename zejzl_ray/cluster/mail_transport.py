"""Mail between hosts over Ray's actor calls: connections, their proofs, and hearing at once that a host died."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from zejzl_ray.bus.frames import decode_delivered, encode_frame
from zejzl_ray.bus.ports import Delivered, Outgoing
from zejzl_ray.clock import Clock
from zejzl_ray.cluster.mail_reception import Identifies, ProvedSpeakers
from zejzl_ray.cluster.names import agent_host_name
from zejzl_ray.contracts.agent_host import (
    SERVICE,
    DeliverMail,
    HoldLine,
    MailDelivered,
    MailOpened,
    OpenMail,
    Speaker,
)
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.caller import Caller
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.services import BY_SERVICE
from zejzl_ray.errors import (
    AgentUnreachable,
    DeadlineExceeded,
    Forbidden,
    NotFound,
    SenderRefused,
    Unauthenticated,
    Unavailable,
    ZejzlError,
)
from zejzl_ray.ids import new_id

_RENEW_SHARE: Final = 0.5  # of a connection's time, and of the tokens in it
_LINE_S: Final = 2.0  # a host that is frozen is noticed after this and a call's time limit, 7 s in all
_IDLE_S: Final = 60.0  # a line that nobody has used for so long is let go
_OPERATIONS: Final = BY_SERVICE[SERVICE]

Proofs = Callable[[], Awaitable[tuple[Speaker, ...]]]


@dataclass(slots=True)
class _Peer:
    deliver: Operation
    open: Operation
    hold: Operation
    speakers: ProvedSpeakers
    connection: str = ""
    boot: str = ""
    shown: frozenset[str] = frozenset()
    renew_at_s: float = 0.0
    used_at_s: float = 0.0
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    line: asyncio.Task[None] | None = None


class MailTransport:
    """A ``Transport`` of the bus over actors named ``agent_host:NAME``.

    Args:
        host: name of this host.
        boot: of this process.
        caller: calls in this host's name.
        guard: checks the proofs that others show.
        proofs: gives those of this host's agents.
        agents: the names of this host's agents now.
        on_gone: told (host, why) when a host that mail went to has died.
        clock: source of time.
    """

    def __init__(
        self,
        host: str,
        boot: str,
        *,
        caller: Caller,
        guard: Identifies,
        proofs: Proofs,
        agents: Callable[[], Sequence[str]],
        on_gone: Callable[[str, str], None],
        clock: Clock,
    ) -> None:
        self._host = host
        self._boot = boot
        self._caller = caller
        self._guard = guard
        self._proofs = proofs
        self._agents = agents
        self._on_gone = on_gone
        self._clock = clock
        self._peers: dict[str, _Peer] = {}

    async def deliver(self, host: str, outgoing: Outgoing) -> Delivered:
        """Bring a batch to a host and return its answer.

        Raises:
            AgentUnreachable: the host is gone or did not answer.
            SenderRefused: it does not let this host in.
        """
        peer = self._peer(host)
        peer.used_at_s = self._clock.monotonic_s()
        frame = encode_frame(outgoing)
        try:
            for is_last in (False, True):
                if self._is_open(peer):
                    connection = peer.connection
                else:
                    connection = await self._open(host, peer)
                try:
                    answer = await self._caller.call(
                        peer.deliver, DeliverMail(connection=connection, frame=frame), CallContext()
                    )
                except NotFound:  # it was started anew, or the connection's time is over; nothing was taken
                    if peer.connection == connection:
                        peer.connection = ""
                    if is_last:
                        raise
                else:
                    assert isinstance(answer, MailDelivered)
                    delivered = decode_delivered(answer.frame)
                    if delivered.back:
                        await peer.speakers.refresh()
                    return delivered
        except (Unavailable, DeadlineExceeded, NotFound) as error:
            raise AgentUnreachable(error.message, "Send again once it is back.", {"host": host}) from None
        except (Forbidden, Unauthenticated) as error:
            raise SenderRefused(
                f"Host {host} does not let {self._host} in: {error.message}", error.remedy, {"host": host}
            ) from None
        raise AssertionError("unreachable: the loop returns or raises")

    def speakers(self, host: str) -> ProvedSpeakers:
        """Return for whom a host speaks in what it sends back."""
        return self._peer(host).speakers

    async def close(self) -> None:
        """Let all lines go; safe to repeat."""
        lines = [peer.line for peer in self._peers.values() if peer.line is not None]
        for line in lines:
            line.cancel()
        if lines:
            await asyncio.wait(lines, timeout=2)

    def _peer(self, host: str) -> _Peer:
        peer = self._peers.get(host)
        if peer is None:
            actor = agent_host_name(host)
            peer = self._peers[host] = _Peer(
                deliver=_OPERATIONS["deliver_mail"].at(actor),
                open=_OPERATIONS["open_mail"].at(actor),
                hold=_OPERATIONS["hold_line"].at(actor),
                speakers=ProvedSpeakers(host, self._guard, self._clock),
            )
        return peer

    def _is_open(self, peer: _Peer) -> bool:
        return (
            bool(peer.connection)
            and self._clock.monotonic_s() < peer.renew_at_s
            and peer.shown.issuperset(self._agents())
        )

    async def _open(self, host: str, peer: _Peer) -> str:
        async with peer.opening:
            if self._is_open(peer):  # somebody else has just opened it
                return peer.connection
            shown = frozenset(self._agents())
            request = OpenMail(host=self._host, boot=self._boot, speakers=await self._proofs())
            limit_s = self._clock.now_s() + 5.0
            opened = await self._caller.call(
                peer.open, request, CallContext(deadline_at_s=limit_s, request_id=new_id())
            )
            assert isinstance(opened, MailOpened)
            await peer.speakers.prove(opened.speakers)
            peer.connection, peer.boot, peer.shown = opened.connection, opened.boot, shown
            peer.renew_at_s = self._clock.monotonic_s() + opened.valid_s * _RENEW_SHARE
            if peer.line is None or peer.line.done():
                peer.line = asyncio.create_task(self._hold(host, peer), name=f"line to {host}")
            return peer.connection

    async def _hold(self, host: str, peer: _Peer) -> None:
        """Wait with the other host; its death ends the call at once, which an idle link would not notice."""
        while self._clock.monotonic_s() - peer.used_at_s < _IDLE_S:
            try:
                await self._caller.call(peer.hold, HoldLine(timeout_s=_LINE_S), CallContext())
            except (Unavailable, DeadlineExceeded) as error:
                peer.connection = ""
                self._on_gone(host, error.message)
                return
            except ZejzlError:  # not let in: the next batch says why
                return
