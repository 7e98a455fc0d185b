"""In which order passwords are checked when more logins arrive than the processors can hash.

Hashing a password is slow on purpose: some ten a second and core. Whoever sends more wrong logins than that decides,
in a plain queue, that nobody else gets in. What can be told apart *before* hashing decides here who goes first:

1. *Familiar* ones: this account has logged in from this address before. They have a queue of their own and slots that
   strangers never take, so no flood delays them by more than the hash that shares the processor with theirs.
2. Strangers who were told to come back and did so after the time that they were told. A flood from ever new addresses
   does not come back; an honest client does, and is served at its second attempt.
3. Strangers whose address has not failed lately.
4. Strangers whose address has failed: each address of an attacker falls down to here with its first checked password.

Few strangers may wait, so that whoever is let in is through soon. Among equals the neighbourhood of addresses (/24,
/64) with the fewest attempts of the last minutes goes first, then the account with the fewest, then the newest attempt:
in a queue that is longer than the processors can serve, oldest first would make everybody wait for ever. Whoever is put
out of the full queue is told so at once and comes back with precedence.

What this cannot do: an attacker with thousands of neighbourhoods who all wait as they are told, have not failed yet
and want the same account look like the right user from a place where he has never been. Then it is a lottery, until
each of those addresses has failed once. A flood against one account does not make the others wait.

One password of an address is checked at a time, so that its lock-out counts every failure before the next check.
Nothing here waits or hashes: time comes in as a value, what is to start comes out as one.
"""

import itertools
from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final

from zejzl_ray.auth.addresses import caller_of, parsed
from zejzl_ray.errors import RateLimited

RETRY_AFTER_S: Final = 1.0
# Whoever comes back a little early because of rounding has still waited.
_EARLIEST_S: Final = 0.9
_LATEST_S: Final = 60.0
_HALF_LIFE_S: Final = 60.0
_REMEMBERED: Final = 20_000
# So many attempts are what somebody makes who is no attacker.
_FEW: Final = 4
_V4_NEIGHBOURS: Final = 24
_V6_NEIGHBOURS: Final = 64


@dataclass(frozen=True, slots=True)
class Claim:
    """Who wants a password checked.

    Attributes:
        account: a digest of the name, or the name; empty for work of the gateway itself.
        address: of the client; empty inside of the cluster.
        is_familiar: this account has logged in from there before, or the caller has proved who it is otherwise.
        has_failed: a login from there has failed lately.
    """

    account: str = ""
    address: str = ""
    is_familiar: bool = False
    has_failed: bool = False

    @property
    def one_at_a_time(self) -> str:
        """What has only one check at a time; empty for no such limit."""
        return caller_of(self.address) or self.account


@dataclass(eq=False, slots=True)
class Ticket:
    """A place in the queue.

    Attributes:
        claim: whose.
        order: smaller for whom goes first, of those who have not been there before.
        neighbourhood: network of the address.
        serial: larger for whom came later.
    """

    claim: Claim
    order: int = 0
    neighbourhood: str = ""
    serial: int = 0


class LoginQueue:
    """Who is checked, who waits, who is sent away.

    Args:
        slots: checks at the same time.
        stranger_slots: of these, how many strangers may take.
        max_waiting: familiar ones who may wait.
        max_strangers: strangers who may wait; few, because whoever is let in has to be through soon.
    """

    def __init__(self, *, slots: int, stranger_slots: int, max_waiting: int, max_strangers: int) -> None:
        self._slots = slots
        self._stranger_slots = stranger_slots
        self._max_waiting = max_waiting
        self._max_strangers = max_strangers
        self._running: set[Ticket] = set()
        self._familiar: list[Ticket] = []
        self._strangers: list[Ticket] = []
        self._busy: dict[str, int] = {}
        self._serial = itertools.count()
        self._neighbourhoods = _Heat()
        self._accounts = _Heat()
        # address -> when it was told to come back
        self._sent_away: OrderedDict[str, float] = OrderedDict()

    @property
    def running(self) -> int:
        """How many are checked at the moment."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._familiar) + len(self._strangers)

    def enter(self, claim: Claim, now_s: float) -> tuple[Ticket, Ticket | None]:
        """Take a place.

        Returns:
            The place, and the one that had to make room for it.

        Raises:
            RateLimited: no room.
        """
        if claim.is_familiar:
            if len(self._familiar) >= self._max_waiting:
                raise busy()
            ticket = Ticket(claim)
            self._familiar.append(ticket)
            return ticket, None
        ticket = self._ticket(claim, now_s)
        self._strangers.append(ticket)
        if len(self._strangers) <= self._max_strangers:
            return ticket, None
        last = max(self._strangers, key=lambda waiting: self._rank(waiting, now_s))
        self._strangers.remove(last)
        self._send_away(last.claim, now_s)
        if last is ticket:
            raise busy()
        return ticket, last

    def start(self, now_s: float) -> list[Ticket]:
        """Return those whose turn it is now; each holds a slot until it leaves."""
        started = []
        while (ticket := self._next(now_s)) is not None:
            self._running.add(ticket)
            key = ticket.claim.one_at_a_time
            self._busy[key] = self._busy.get(key, 0) + 1
            (self._familiar if ticket.claim.is_familiar else self._strangers).remove(ticket)
            started.append(ticket)
        return started

    def leave(self, ticket: Ticket) -> None:
        """Give the place or slot back; safe to repeat."""
        if ticket in self._running:
            self._running.discard(ticket)
            key = ticket.claim.one_at_a_time
            self._busy[key] -= 1
            if not self._busy[key]:
                del self._busy[key]
        for waiting in (self._familiar, self._strangers):
            if ticket in waiting:
                waiting.remove(ticket)

    def _next(self, now_s: float) -> Ticket | None:
        if len(self._running) >= self._slots:
            return None
        familiar = next((ticket for ticket in self._familiar if self._is_free(ticket)), None)
        if familiar is not None:
            return familiar
        if sum(not ticket.claim.is_familiar for ticket in self._running) >= self._stranger_slots:
            return None
        free = (ticket for ticket in self._strangers if self._is_free(ticket))
        return min(free, key=lambda ticket: self._rank(ticket, now_s), default=None)

    def _is_free(self, ticket: Ticket) -> bool:
        key = ticket.claim.one_at_a_time
        return not key or key not in self._busy

    def _ticket(self, claim: Claim, now_s: float) -> Ticket:
        sent_away_at_s = self._sent_away.pop(caller_of(claim.address), None)
        has_come_back = sent_away_at_s is not None and (
            _EARLIEST_S * RETRY_AFTER_S <= now_s - sent_away_at_s <= _LATEST_S
        )
        neighbourhood = neighbourhood_of(claim.address)
        self._neighbourhoods.add(neighbourhood, now_s)
        self._accounts.add(claim.account, now_s)
        order = 2 if claim.has_failed else 0 if has_come_back else 1
        return Ticket(claim, order, neighbourhood, next(self._serial))

    def _rank(self, ticket: Ticket, now_s: float) -> tuple[int, ...]:
        return (
            ticket.order,
            self._neighbourhoods.level(ticket.neighbourhood, now_s),
            self._accounts.level(ticket.claim.account, now_s),
            -ticket.serial,
        )

    def _send_away(self, claim: Claim, now_s: float) -> None:
        address = caller_of(claim.address)
        if not address:
            return
        self._sent_away[address] = now_s
        self._sent_away.move_to_end(address)
        if len(self._sent_away) > _REMEMBERED:
            self._sent_away.popitem(last=False)


class _Heat:
    """How many attempts something has made lately, by powers of two; forgets the one that was quiet longest."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def add(self, key: str, now_s: float) -> None:
        """Count an attempt."""
        count = self._count(key, now_s) + 1.0
        self._known[key] = (count, now_s)
        self._known.move_to_end(key)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def level(self, key: str, now_s: float) -> int:
        """Return how hot it is: 0 for a few attempts a minute, then one more for each doubling."""
        return (round(self._count(key, now_s)) // _FEW).bit_length()

    def _count(self, key: str, now_s: float) -> float:
        count, at_s = self._known.get(key, (0.0, now_s))
        return float(count * 0.5 ** (max(0.0, now_s - at_s) / _HALF_LIFE_S))


def neighbourhood_of(address: str) -> str:
    """Return the network that an address shares with its neighbours: /24 of IPv4, /64 of IPv6."""
    known = parsed(address)
    if known is None:
        return address
    bits = _V4_NEIGHBOURS if known.version == 4 else _V6_NEIGHBOURS
    return (
        str(ip_network((int(known), bits), strict=False)) if known.version == 6 else _v4_network(str(known))
    )


def busy() -> RateLimited:
    """Return what somebody hears for whom there is no room."""
    return RateLimited(
        "Too many logins at the same time.", "Wait as long as the answer says, then try again.", RETRY_AFTER_S
    )


def _v4_network(address: str) -> str:
    return f"{address.rpartition('.')[0]}.0/{_V4_NEIGHBOURS}"
