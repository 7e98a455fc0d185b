"""What a host shows another one for its agents: a token each, made for that host and of no use anywhere else."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from pydantic import SecretStr

from zejzl_ray.auth.ports import TokenIssuer
from zejzl_ray.auth.token_source import TokenSource
from zejzl_ray.clock import Clock
from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.agent_host import Speaker, mail_audience
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.errors import Unauthenticated, ZejzlError
from zejzl_ray.log import get_logger

_WAIT_S: Final = 2.0  # less than a connection may take to open
_AT_ONCE: Final = 16  # exchanges; a large host must not flood the gateway
_UNUSED_S: Final = 900.0  # with a host that nothing was shown to for so long
_MAX_PEERS: Final = 1000
_log = get_logger("agent_host")


class Remembers(Protocol):
    """What looks again at tokens; a ``Guard``."""

    def identify_again(self, call: CallContext, audiences: frozenset[str]) -> Principal:
        """Return whose token it is, or raise."""
        ...


@dataclass(frozen=True, slots=True)
class Shown:
    """Proofs for one other host.

    Attributes:
        speakers: the agents that can be proved now; others may be missing.
        life_s: how long the first of the tokens to end still counts; infinite without tokens.
    """

    speakers: tuple[Speaker, ...] = ()
    life_s: float = float("inf")

    @property
    def agents(self) -> frozenset[str]:
        """Who is proved."""
        return frozenset(speaker.agent for speaker in self.speakers)


@dataclass(slots=True)
class _Peer:
    used_at_s: float
    sources: dict[str, TokenSource] = field(default_factory=dict)


class MailProofs:
    """Tokens of a host's agents for other hosts, one an agent and host, kept and renewed by themselves.

    A token names the one host that takes it, and allows nothing but mail: who gets it can only do with it what it was
    shown for.

    Args:
        issuer: the gateway.
        credentials: agent -> credential.
        clock: source of time.
        is_required: false leaves tokens out, where authentication is off.
        guard: hears of revocations in this process; None leaves that to those who are shown the tokens.
        wait_s: how long tokens are waited for; those that come later are shown the next time.
    """

    def __init__(
        self,
        issuer: TokenIssuer,
        credentials: Mapping[str, SecretStr],
        clock: Clock,
        *,
        is_required: bool = True,
        guard: Remembers | None = None,
        wait_s: float = _WAIT_S,
    ) -> None:
        self._issuer = issuer
        self._credentials = credentials
        self._clock = clock
        self._is_required = is_required
        self._wait_s = wait_s
        self._guard = guard
        self._peers: dict[str, _Peer] = {}
        self._exchanges = asyncio.Semaphore(_AT_ONCE)
        self._without: set[str] = set()  # agents whose missing token was logged

    def __len__(self) -> int:
        """Return how many tokens are kept, or asked for."""
        return sum(len(peer.sources) for peer in self._peers.values())

    async def of(self, agents: Sequence[str], host: str) -> Shown:
        """Return a proof of each of these agents for a host; one whose token cannot be had now is left out."""
        if not self._is_required:
            return Shown(tuple(Speaker(agent=agent) for agent in agents))
        peer = await self._used(host)
        sources = {agent: found for agent in agents if (found := self._source(agent, host, peer)) is not None}
        tokens = await self._tokens(sources, frozenset((mail_audience(host),)))
        return Shown(
            tuple(Speaker(agent=agent, token=token) for agent, token in tokens.items()),
            min((sources[agent].left_s for agent in tokens), default=float("inf")),
        )

    async def close(self) -> None:
        """Stop renewing; safe to repeat."""
        await asyncio.gather(*(self._forget(host) for host in tuple(self._peers)))

    def _source(self, agent: str, host: str, peer: _Peer) -> TokenSource | None:
        credential = self._credentials.get(agent)
        if credential is None:
            return None
        source = peer.sources.get(agent)
        if source is None:
            source = TokenSource(credential, self._issuer, self._clock, audience=mail_audience(host))
            peer.sources[agent] = source
        return source

    async def _tokens(
        self, sources: Mapping[str, TokenSource], audiences: frozenset[str]
    ) -> dict[str, SecretStr]:
        """Return the tokens that can be had in time, in the order of their agents."""
        asked = {
            agent: asyncio.create_task(self._token(agent, source, audiences))
            for agent, source in sources.items()
        }
        if not asked:
            return {}
        try:
            await asyncio.wait(asked.values(), timeout=self._wait_s)
        finally:
            for task in asked.values():
                task.cancel()  # an exchange goes on; the next time it is there
        found = {
            agent: task.result() for agent, task in asked.items() if task.done() and not task.cancelled()
        }
        return {agent: token for agent, token in found.items() if token is not None}

    async def _token(self, agent: str, source: TokenSource, audiences: frozenset[str]) -> SecretStr | None:
        try:
            async with self._exchanges:
                token = await source.token()
                if self._is_over(token, audiences):
                    token = await source.renewed(token)
        except ZejzlError as error:
            if agent not in self._without:
                self._without.add(agent)
                _log.warning("no token for the mail of an agent: it waits", agent=agent, reason=error.message)
            return None
        self._without.discard(agent)
        return token

    def _is_over(self, token: SecretStr, audiences: frozenset[str]) -> bool:
        """Whether this process has heard that a token counts no more; the others have heard it too."""
        if self._guard is None:
            return False
        try:
            self._guard.identify_again(CallContext(token=token), audiences)
        except Unauthenticated:
            return True
        except ZejzlError:  # nothing was heard of the gateway yet
            return False
        return False

    async def _used(self, host: str) -> _Peer:
        """Let go of the tokens for hosts that nothing was shown to for long, and note the use of this one's."""
        now_s = self._clock.monotonic_s()
        peer = self._peers.pop(host, None) or _Peer(now_s)
        peer.used_at_s = now_s
        self._peers[host] = peer  # the one used last is last
        unused = [name for name, each in self._peers.items() if now_s - each.used_at_s > _UNUSED_S]
        unused += [
            name for name in tuple(self._peers)[: max(0, len(self._peers) - _MAX_PEERS)] if name not in unused
        ]
        await asyncio.gather(*(self._forget(name) for name in unused))
        return peer

    async def _forget(self, host: str) -> None:
        peer = self._peers.pop(host, None)
        if peer is not None:
            await asyncio.gather(*(source.close() for source in peer.sources.values()))
