"""Connections of other hosts: who they are, for whom they speak, and to whom these may write."""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from zejzl_ray.auth.scopes import allows
from zejzl_ray.auth.token_verifier import UnknownKey
from zejzl_ray.bus.mailbox import Mailbox
from zejzl_ray.clock import Clock
from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.agent_host import SUBJECT_PREFIX, OpenMail, Speaker, mail_audience
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.errors import (
    NotFound,
    Overloaded,
    SenderRefused,
    TokenExpired,
    Unauthenticated,
    ZejzlError,
)

VALID_S: Final = 300.0
_RECHECK_S: Final = 1.0  # a revocation counts for mail of an open connection after this time
_MAX_CONNECTIONS: Final = 1000
_MAX_DECIDED: Final = 100_000
_AT_ONCE: Final = 32  # tokens that are checked before the event loop goes on


class Identifies(Protocol):
    """What checks a token; a ``Guard``."""

    @property
    def is_required(self) -> bool:
        """Whether calls need a token."""
        ...

    async def identify(self, call: CallContext, address: str = "", *, audiences: frozenset[str]) -> Principal:
        """Return whose token it is, or raise."""
        ...

    def identify_again(self, call: CallContext, audiences: frozenset[str]) -> Principal:
        """Return whose token it is that was identified before, or raise."""
        ...


@dataclass(slots=True)
class _Proof:
    """What was shown for an agent, and what came of the last look at it.

    Attributes:
        call: with the token.
        principal: whose it is; None where authentication is off, or where it does not count.
        why_not: why it does not count; empty when it does.
        is_passing: it does not count, but one that does may be shown soon.
        round: in which it was looked at.
    """

    call: CallContext
    principal: Principal | None = None
    why_not: str = ""
    is_passing: bool = False
    round: int = 0


class ProvedSpeakers:
    """The agents that another host speaks for, each by a token of its own; a ``Speakers`` of the bus.

    Only tokens that were issued for this host count, so that what was shown to one host is of no use at another. All
    are looked at when they are shown; after that a second at most goes by until the token of one that writes is
    looked at again, and that of one that does not write costs nothing.

    Args:
        host: which host speaks, for messages to people.
        guard: checks the tokens.
        clock: source of time.
        here: name of this host.

    Attributes:
        has_missed: mail came in since they were shown from one that has to be proved anew.
    """

    def __init__(self, host: str, guard: Identifies, clock: Clock, *, here: str) -> None:
        self.host = host
        self.has_missed = False
        self._guard = guard
        self._clock = clock
        self._audiences = frozenset((mail_audience(here),))
        self._proofs: dict[str, _Proof] = {}
        # (sender, mail scope of the receiver) -> why not; for one round
        self._decided: dict[tuple[str, str], str] = {}
        self._round = 0
        self._round_at_s = float("-inf")

    @property
    def agents(self) -> frozenset[str]:
        """The agents whose proofs counted when they were looked at last."""
        return frozenset(agent for agent, proof in self._proofs.items() if not proof.why_not)

    async def prove(self, speakers: Sequence[Speaker]) -> None:
        """Take these speakers in place of those before; one whose proof does not count is refused."""
        proofs: dict[str, _Proof] = {}
        for number, speaker in enumerate(speakers, 1):
            proof = proofs[speaker.agent] = _Proof(CallContext(token=speaker.token), round=self._round)
            await self._identify(speaker.agent, proof)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)  # a signature each: the loop has other things to do
        self._proofs = proofs
        self.has_missed = False
        self._decided.clear()

    def begin_batch(self) -> None:
        """Have the tokens of those who write looked at again, at most once a second; before each batch."""
        now_s = self._clock.monotonic_s()
        if now_s - self._round_at_s >= _RECHECK_S:
            self._round_at_s = now_s
            self._round += 1
            self._decided.clear()

    def why_refused(self, from_agent: str, box: Mailbox | None) -> str:
        """Return why a message of this sender may not come in, empty when it may."""
        key = (from_agent, "" if box is None else box.mail_scope)
        found = self._decided.get(key)
        if found is None:
            if len(self._decided) >= _MAX_DECIDED:
                self._decided.clear()
            found = self._decided[key] = self._decide(*key)
        return found

    def is_unproved(self, from_agent: str) -> bool:
        """Whether an agent is refused for lack of a proof that counts alone: one may be shown soon."""
        proof = self._proofs.get(from_agent)
        return proof is None or proof.is_passing

    async def _identify(self, agent: str, proof: _Proof) -> None:
        if proof.call.token is None and not self._guard.is_required:
            return
        try:
            principal = await self._guard.identify(proof.call, audiences=self._audiences)
        except ZejzlError as error:
            _judge_error(proof, error)
        else:
            _judge(agent, proof, principal)

    def _look_again(self, agent: str, proof: _Proof) -> None:
        proof.round = self._round
        if proof.call.token is None and not self._guard.is_required:
            return
        try:
            principal = self._guard.identify_again(proof.call, self._audiences)
        except Unauthenticated as error:
            _judge_error(proof, error)
        except ZejzlError:  # it cannot be said now: what was known counts
            return
        else:
            _judge(agent, proof, principal)

    def _decide(self, from_agent: str, mail_scope: str) -> str:
        proof = self._proofs.get(from_agent)
        if proof is not None and proof.round != self._round:
            self._look_again(from_agent, proof)
        if proof is None or proof.why_not:
            why = "it has shown no proof for it" if proof is None else proof.why_not
            self.has_missed |= proof is None or proof.is_passing
            return f"host {self.host} does not speak for {from_agent}: {why}"
        principal = proof.principal
        if principal is None or not mail_scope:
            return ""
        if not principal.standing.can_write:
            return f"{from_agent} may not write for now: {principal.standing.reason or 'too little trust'}"
        scope = f"mail:{mail_scope}:write"
        return "" if allows(principal.grants, scope) else f"{from_agent} lacks the scope {scope}"


def _judge(agent: str, proof: _Proof, principal: Principal) -> None:
    is_its_own = principal.subject == f"agent:{agent}"
    proof.principal, proof.is_passing = principal, False
    proof.why_not = "" if is_its_own else f"the token is {principal.subject}'s"


def _judge_error(proof: _Proof, error: ZejzlError) -> None:
    proof.principal, proof.why_not = None, error.message
    # An end, a key that was not heard of yet, a gateway that is away: the next proof may count.
    proof.is_passing = isinstance(error, TokenExpired | UnknownKey) or not isinstance(error, Unauthenticated)


@dataclass(slots=True)
class Connection:
    """One host's open connection."""

    id: str
    host: str
    subject: str
    boot: str
    valid_until_s: float
    speakers: ProvedSpeakers = field(repr=False)


class Reception:
    """Keeps the connections of other hosts to this one; at most one a host, and none whose time is over for long.

    Args:
        host: name of this one.
        guard: checks tokens.
        clock: source of time.
        valid_s: how long a connection counts until it has to be opened again.
    """

    def __init__(self, host: str, guard: Identifies, clock: Clock, *, valid_s: float = VALID_S) -> None:
        self._host = host
        self._guard = guard
        self._clock = clock
        self.valid_s = valid_s
        self._connections: dict[str, Connection] = {}
        self._by_host: dict[str, str] = {}

    async def open(self, request: OpenMail, caller: Principal) -> Connection:
        """Open or renew the connection of a host; an older one of the same host ends.

        Raises:
            SenderRefused: the caller is another host than it says.
            Overloaded: too many hosts.
        """
        if self._guard.is_required and caller.subject != f"service:{SUBJECT_PREFIX}{request.host}":
            raise SenderRefused(
                f"{caller.subject} is not the host {request.host}.",
                "Use the credential of that host.",
                {"host": request.host},
            )
        self._forget_ended()
        if request.host not in self._by_host and len(self._connections) >= _MAX_CONNECTIONS:
            raise Overloaded(
                f"{len(self._connections)} hosts are connected already.", "Use fewer, larger hosts."
            )
        speakers = ProvedSpeakers(request.host, self._guard, self._clock, here=self._host)
        await speakers.prove(request.speakers)
        connection = Connection(
            id=secrets.token_hex(16),
            host=request.host,
            subject=caller.subject,
            boot=request.boot,
            valid_until_s=self._clock.monotonic_s() + self.valid_s,
            speakers=speakers,
        )
        self.forget(request.host)
        self._connections[connection.id] = connection
        self._by_host[request.host] = connection.id
        return connection

    def __len__(self) -> int:
        """Return how many connections are kept."""
        return len(self._connections)

    def forget(self, host: str) -> None:
        """End the connection of a host, where there is one: it is gone, or opens another one."""
        before = self._by_host.pop(host, None)
        if before is not None:
            del self._connections[before]

    def find(self, connection_id: str, caller: Principal) -> Connection:
        """Return an open connection of this caller.

        Raises:
            NotFound: there is none, or its time is over: open one.
        """
        connection = self._connections.get(connection_id)
        if (
            connection is None
            or connection.subject != caller.subject
            or connection.valid_until_s <= self._clock.monotonic_s()
        ):
            raise NotFound("There is no such connection for mail, or its time is over.", "Open it again.")
        return connection

    def _forget_ended(self) -> None:
        now_s = self._clock.monotonic_s()
        for connection in [each for each in self._connections.values() if each.valid_until_s <= now_s]:
            self.forget(connection.host)
