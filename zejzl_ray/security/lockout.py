"""Who has to wait after wrong passwords: an account from one address, and an address whatever the account.

Never an account alone: that would let anybody shut its owner out. After a few free failures each further one makes
the next attempt wait twice as long. Callers inside of the cluster have no address that anybody could tell, and count as
one place. An account that does not exist locks like one that does. Of the names that people
type only a digest is kept: some of them are passwords in the wrong field.
"""

import heapq
from collections import OrderedDict
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import ClassVar, Final

from pydantic import Field

from zejzl_ray.auth.addresses import caller_of
from zejzl_ray.commands.records import Record, RecordDraft, Records
from zejzl_ray.contracts.base import Contract
from zejzl_ray.errors import RateLimited

# In place of an account: the address, whatever the account.
_ANY_ACCOUNT: Final = ""
MAX_STORED: Final = 50_000
"""Lock-outs that outlive a restart; each needs some failures from an address of its own."""
_MOST_FORGOTTEN: Final = 10_000
_LEVELS: Final = 8

Pair = tuple[str, str]


class LockoutRules(Contract):
    """When one has to wait, and how long.

    Failures of one account from one address count more than those of an address with different accounts, because
    several people may stand behind one address.
    """

    free_failures: int = Field(default=3, ge=1, le=100, description="of an account from one address")
    free_address_failures: int = Field(default=10, ge=1, le=1000, description="from one address")
    first_delay_s: float = Field(default=1.0, gt=0)
    longest_delay_s: float = Field(default=900.0, gt=0)
    forgotten_after_s: float = Field(default=86_400.0, gt=0)
    max_entries: int = Field(default=50_000, ge=1)


class LockoutRecord(Record):
    """A lock-out that outlives a restart; ``account`` is a digest, empty for an address whatever the account."""

    KIND: ClassVar[str] = "lockout"

    account: str
    address: str
    failures: int
    last_failed_at_s: float
    locked_until_s: float

    @property
    def key(self) -> str:
        """Return the key of the record."""
        return _store_key((self.account, self.address))


@dataclass(frozen=True, slots=True)
class _Failures:
    count: int
    last_at_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class Charge:
    """A counted failure.

    Attributes:
        locks: what has to be stored: those that are locked now.
        before: what was known before, to take it back.
    """

    locks: tuple[LockoutRecord, ...]
    before: tuple[tuple[Pair, _Failures | None], ...]


class Lockout:
    """Counts failures and says who has to wait. Pure: time comes in as a value, in wall time seconds.

    Above its size it forgets those with the fewest failures first, the oldest of them, so that nobody washes away a
    lock by failing elsewhere.
    """

    def __init__(self, rules: LockoutRules | None = None) -> None:
        self._rules = rules or LockoutRules()
        # by failures, at most _LEVELS of them; oldest failure first
        self._by_level: list[OrderedDict[Pair, _Failures]] = [OrderedDict() for _ in range(_LEVELS)]
        self._level: dict[Pair, int] = {}

    def __len__(self) -> int:
        """Return how many pairs and addresses are remembered."""
        return len(self._level)

    def check(self, account: str, address: str, now_s: float, *, is_familiar: bool = False) -> None:
        """Let an attempt pass, or say how long it has to wait. The answer is the same for unknown accounts.

        Args:
            account: name as typed.
            address: of the client; empty inside of the cluster, where no address is told.
            now_s: wall time.
            is_familiar: this account has logged in from this address before: it is not held up by what others do
                behind the same address.

        Raises:
            RateLimited: with the seconds to wait.
        """
        left_s = 0.0
        for pair in self._pairs(account, address):
            if is_familiar and pair[0] == _ANY_ACCOUNT:
                continue
            found = self._find(pair, now_s)
            if found is not None:
                left_s = max(left_s, found.until_s - now_s)
        if left_s > 0:
            raise RateLimited(
                "Too many failed logins.", "Wait as long as the answer says, then try again.", left_s
            )

    def has_failed(self, account: str, address: str, now_s: float) -> bool:
        """Tell whether this address, or this account from it, has failed lately."""
        return any(self._find(pair, now_s) is not None for pair in self._pairs(account, address))

    def fail(self, account: str, address: str, now_s: float) -> Charge:
        """Count a failure; ``take_back`` undoes it."""
        locks, before = [], []
        for pair in self._pairs(account, address):
            free = self._rules.free_address_failures if pair[0] == _ANY_ACCOUNT else self._rules.free_failures
            known = self._find(pair, now_s)
            before.append((pair, known))
            count = 1 if known is None else known.count + 1
            found = _Failures(count, now_s, now_s + self._delay_s(count - free))
            self._put(pair, found)
            if found.until_s > now_s:
                locks.append(_record(pair, found))
        return Charge(tuple(locks), tuple(before))

    def take_back(self, charge: Charge) -> None:
        """Undo a failure that was none; nothing else may have been counted for the same address meanwhile."""
        for pair, known in charge.before:
            if known is None:
                self._drop(pair)
            else:
                self._put(pair, known)

    def succeed(self, account: str, address: str) -> str:
        """Forget the failures of this account from this address; return the key of what may be stored of them.

        Those of the address stay: else an attacker would wipe them out with an account of his own.
        """
        pair = (account_key(account), caller_of(address))
        self._drop(pair)
        return _store_key(pair)

    def lift(self, account: str) -> None:
        """Forget every failure of an account."""
        wanted = account_key(account)
        for pair in [pair for pair in self._level if pair[0] == wanted]:
            self._drop(pair)

    def load(self, records: Records, now_s: float) -> None:
        """Take over what was stored before a restart."""
        for _, record in records.all(LockoutRecord, now_s):
            pair = (record.account, record.address)
            self._put(pair, _Failures(record.failures, record.last_failed_at_s, record.locked_until_s))

    def expires_at_s(self, record: LockoutRecord) -> float:
        """Return when a stored lock-out may be forgotten."""
        return record.last_failed_at_s + self._rules.forgotten_after_s

    def _pairs(self, account: str, address: str) -> tuple[Pair, ...]:
        where = caller_of(address)
        pair = (account_key(account), where)
        # Without an address all callers inside of the cluster would be one.
        return (pair, (_ANY_ACCOUNT, where)) if where else (pair,)

    def _delay_s(self, above_free: int) -> float:
        if above_free <= 0:
            return 0.0
        # The power is cut off before it becomes a number that no float holds.
        delay_s: float = self._rules.first_delay_s * 2 ** min(above_free - 1, 40)
        return min(delay_s, self._rules.longest_delay_s)

    def _find(self, pair: Pair, now_s: float) -> _Failures | None:
        level = self._level.get(pair)
        if level is None:
            return None
        found = self._by_level[level][pair]
        if now_s - found.last_at_s >= self._rules.forgotten_after_s:
            self._drop(pair)
            return None
        if found.last_at_s > now_s:  # the wall clock was set back: nobody waits longer for it
            found = replace(found, last_at_s=now_s, until_s=now_s + self._delay_left_s(found))
            self._by_level[level][pair] = found
        return found

    def _delay_left_s(self, found: _Failures) -> float:
        return max(0.0, found.until_s - found.last_at_s)

    def _put(self, pair: Pair, failures: _Failures) -> None:
        self._drop(pair)
        level = min(failures.count, _LEVELS) - 1
        self._level[pair] = level
        self._by_level[level][pair] = failures
        while len(self._level) > self._rules.max_entries:
            # The one that has just failed is the youngest of its level, so it goes only when it is alone there.
            lowest = next(entries for entries in self._by_level if entries)
            del self._level[lowest.popitem(last=False)[0]]

    def _drop(self, pair: Pair) -> None:
        level = self._level.pop(pair, None)
        if level is not None:
            del self._by_level[level][pair]


def account_key(account: str) -> str:
    """Return what stands for an account here: a digest of the name as typed."""
    return blake2b(account.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def locked_accounts(draft: RecordDraft) -> frozenset[str]:
    """Return the ``account_key`` of every account that is locked for some address now."""
    return frozenset(
        record.account
        for _, record in draft.all(LockoutRecord)
        if record.account and record.locked_until_s > draft.now_s
    )


def surplus_locks(records: Records, now_s: float, most: int = MAX_STORED) -> list[str]:
    """Return the keys of stored lock-outs above a number, those of the fewest failures first."""
    above = records.count(LockoutRecord) - most
    if above <= 0:
        return []
    # Some more at once, so that a flood does not cost a look at all of them every second.
    number = min(above + most // 50, _MOST_FORGOTTEN)
    kept = records.all(LockoutRecord, now_s)
    weakest = heapq.nsmallest(number, kept, key=lambda found: (found[1].failures, found[1].last_failed_at_s))
    return [key for key, _ in weakest]


def lift_in(draft: RecordDraft, account: str) -> None:
    """Have the stored lock-outs of an account forgotten."""
    wanted = account_key(account)
    for key in [key for key, record in draft.all(LockoutRecord) if record.account == wanted]:
        draft.delete(LockoutRecord, key)


def _store_key(pair: Pair) -> str:
    # No separator of its own may come from an address that somebody else has written.
    address = blake2b(pair[1].encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{pair[0] or 'any'}-{address}"


def _record(pair: Pair, found: _Failures) -> LockoutRecord:
    return LockoutRecord(
        account=pair[0],
        address=pair[1],
        failures=found.count,
        last_failed_at_s=found.last_at_s,
        locked_until_s=found.until_s,
    )
