"""Connections of other hosts: who they are, for whom they speak, and to whom these may write."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from zejzl_ray.auth.scopes import allows
from zejzl_ray.bus.mailbox import Mailbox
from zejzl_ray.clock import Clock
from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.agent_host import SUBJECT_PREFIX, OpenMail, Speaker
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.errors import NotFound, Overloaded, SenderRefused, Unauthenticated

VALID_S: Final = 300.0
_RECHECK_S: Final = 1.0  # a revocation counts for mail of an open connection after this time
_MAX_CONNECTIONS: Final = 1000
_MAX_DECIDED: Final = 100_000


class Identifies(Protocol):
    """What checks a token; a ``Guard``."""

    @property
    def is_required(self) -> bool:
        """Whether calls need a token."""
        ...

    async def identify(self, call: CallContext, address: str = "") -> Principal:
        """Return whose token it is, or raise."""
        ...


class ProvedSpeakers:
    """The agents that another host speaks for, each by a token of its own; a ``Speakers`` of the bus.

    Args:
        host: which host, for messages to people.
        guard: checks the tokens.
        clock: source of time.
    """

    def __init__(self, host: str, guard: Identifies, clock: Clock) -> None:
        self.host = host
        self._guard = guard
        self._clock = clock
        self._speakers: tuple[Speaker, ...] = ()
        self._principals: dict[str, Principal | None] = {}
        self._refused: dict[str, str] = {}
        # (sender, mail scope of the receiver) -> why not
        self._decided: dict[tuple[str, str], str] = {}
        self._checked_at_s = float("-inf")

    @property
    def agents(self) -> frozenset[str]:
        """The agents whose proofs count."""
        return frozenset(self._principals)

    async def prove(self, speakers: Sequence[Speaker]) -> None:
        """Take these speakers in place of those before; one whose proof does not count is left out."""
        self._speakers = tuple(speakers)
        self._checked_at_s = float("-inf")
        await self.refresh()

    async def refresh(self) -> None:
        """Look at the tokens again, at most once a second: one may have ended or been revoked."""
        now_s = self._clock.monotonic_s()
        if now_s - self._checked_at_s < _RECHECK_S:
            return
        self._checked_at_s = now_s
        principals: dict[str, Principal | None] = {}
        refused: dict[str, str] = {}
        for speaker in self._speakers:
            if speaker.token is None and not self._guard.is_required:
                principals[speaker.agent] = None
                continue
            try:
                principal = await self._guard.identify(CallContext(token=speaker.token))
            except Unauthenticated as error:
                refused[speaker.agent] = error.message
                continue
            if principal.subject == f"agent:{speaker.agent}":
                principals[speaker.agent] = principal
            else:
                refused[speaker.agent] = f"the token is {principal.subject}'s"
        if principals != self._principals or refused != self._refused:
            self._principals, self._refused = principals, refused
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

    def _decide(self, from_agent: str, mail_scope: str) -> str:
        if from_agent not in self._principals:
            why = self._refused.get(from_agent, "it has shown no proof for it")
            return f"host {self.host} does not speak for {from_agent}: {why}"
        principal = self._principals[from_agent]
        if principal is None or not mail_scope:
            return ""
        if not principal.standing.can_write:
            return f"{from_agent} may not write for now: {principal.standing.reason or 'too little trust'}"
        scope = f"mail:{mail_scope}:write"
        return "" if allows(principal.grants, scope) else f"{from_agent} lacks the scope {scope}"


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
    """Keeps the connections of other hosts to this one; at most one a host.

    Args:
        guard: checks tokens.
        clock: source of time.
        valid_s: how long a connection counts until it has to be opened again.
    """

    def __init__(self, guard: Identifies, clock: Clock, *, valid_s: float = VALID_S) -> None:
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
        if request.host not in self._by_host and len(self._connections) >= _MAX_CONNECTIONS:
            raise Overloaded(
                f"{len(self._connections)} hosts are connected already.", "Use fewer, larger hosts."
            )
        speakers = ProvedSpeakers(request.host, self._guard, self._clock)
        await speakers.prove(request.speakers)
        connection = Connection(
            id=secrets.token_hex(16),
            host=request.host,
            subject=caller.subject,
            boot=request.boot,
            valid_until_s=self._clock.monotonic_s() + self.valid_s,
            speakers=speakers,
        )
        before = self._by_host.get(request.host)
        if before is not None:
            self._connections.pop(before, None)
        self._connections[connection.id] = connection
        self._by_host[request.host] = connection.id
        return connection

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
