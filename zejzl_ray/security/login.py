"""A person logs in: who may try, in which order, and what is kept of the outcome.

The order is that of what an attempt costs and tells: the lock-out first, then a place in the queue, then the lock-out
again (others from the same address may have failed meanwhile), and only then the look-up and the hash. Unknown,
closed and password-less accounts are checked against a hash of nothing, and get the same answer after the same time.

What an attempt leads to is data: the service commits it with ``decide_login_outcome`` before it answers.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr

from zejzl_ray.auth.addresses import caller_of
from zejzl_ray.auth.credential_text import login_refused
from zejzl_ray.clock import Clock
from zejzl_ray.commands.records import Records
from zejzl_ray.contracts.trust import Observation
from zejzl_ray.errors import LoginRefused, ServiceUnavailable
from zejzl_ray.security.draft import AuditFact, SecurityDraft
from zejzl_ray.security.lockout import Lockout, LockoutRecord, account_key
from zejzl_ray.security.login_queue import Claim
from zejzl_ray.security.passwords import PasswordWorker
from zejzl_ray.security.user_record import UserRecord, subject_of

OPERATION: Final = "security_gateway.issue_token"
_KNOWN_ADDRESSES: Final = 8
_FAMILIAR: Final = 50_000


@dataclass(frozen=True, slots=True)
class LoginOutcome:
    """What an attempt led to.

    Attributes:
        record: the person as read, and null when the login is refused.
        subject: of the account, where there is one; a name that was only typed is kept nowhere.
        address: of the client.
        at_s: wall time of the decision.
        new_hash: of the same password with the parameters of today, where the stored one is older.
        locks: lock-outs to store, each with the wall time when it may be forgotten.
        lifted: key of the stored lock-out that a success ends.
    """

    record: UserRecord | None
    subject: str
    address: str
    at_s: float
    new_hash: SecretStr | None = None
    locks: tuple[tuple[LockoutRecord, float], ...] = ()
    lifted: str = ""

    @property
    def observation(self) -> Observation | None:
        """What the detectors want to know of it; null for a success."""
        if self.record is not None:
            return None
        return Observation(
            kind="login_failed",
            subject=self.subject,
            address=self.address[:64],
            operation=OPERATION,
            at_s=self.at_s,
        )


class Login:
    """Checks logins of people.

    Args:
        hasher: checks passwords.
        lockout: who has to wait.
        clock: wall time of lock-outs.
    """

    def __init__(self, hasher: PasswordWorker, lockout: Lockout, clock: Clock) -> None:
        self._hasher = hasher
        self._lockout = lockout
        self._clock = clock
        # (account, address) pairs that have logged in, the latest last
        self._familiar: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._is_loaded = False

    async def check(self, records: Records, user: str, password: SecretStr, address: str) -> UserRecord:
        """Return the person whose password this is, and keep nothing but the failures in memory.

        For a look at a password beside a login, such as the old one before a new one is set.

        Raises:
            LoginRefused: the same words whatever the reason is.
            RateLimited: locked out, or too many logins at the same time.
        """
        outcome = await self.attempt(records, user, password, address)
        if outcome.record is None:
            raise login_refused()
        return outcome.record

    async def attempt(self, records: Records, user: str, password: SecretStr, address: str) -> LoginOutcome:
        """Check a login and say what it leads to.

        A caller that hangs up while its password is checked has it counted as a failure.

        Raises:
            RateLimited: locked out, or too many logins at the same time; nothing was looked up.
            ServiceUnavailable: passwords cannot be checked at the moment.
        """
        if not self._is_loaded:
            self.load(records)
        pair = (account_key(user), caller_of(address))
        is_familiar = pair in self._familiar
        now_s = self._clock.now_s()
        self._lockout.check(user, address, now_s, is_familiar=is_familiar)
        claim = Claim(
            account=pair[0],
            address=address,
            is_familiar=is_familiar,
            has_failed=self._lockout.has_failed(user, address, now_s),
        )
        async with self._hasher.turn(claim) as turn:
            now_s = self._clock.now_s()
            self._lockout.check(user, address, now_s, is_familiar=is_familiar)
            found = records.get(UserRecord, user, now_s)
            stored = found.password_hash if found is not None and found.is_active else None
            # Counted before it is known, so that whoever hangs up early has not tried for nothing.
            charge = self._lockout.fail(user, address, now_s)
            try:
                is_right = await turn.verify(password, stored)
            except ServiceUnavailable:
                self._lockout.take_back(charge)
                raise
            if not is_right or found is None or stored is None:
                return LoginOutcome(
                    record=None,
                    subject="" if found is None else subject_of(user),
                    address=address,
                    at_s=now_s,
                    locks=tuple((lock, self._lockout.expires_at_s(lock)) for lock in charge.locks),
                )
            self._lockout.take_back(charge)
            new_hash = await turn.hash(password) if self._hasher.needs_rehash(stored) else None
        self._learn(pair)
        return LoginOutcome(
            record=found,
            subject=subject_of(user),
            address=address,
            at_s=now_s,
            new_hash=None if new_hash is None else SecretStr(new_hash),
            lifted=self._lockout.succeed(user, address),
        )

    def load(self, records: Records) -> None:
        """Take over lock-outs and known addresses that were stored; the first attempt does it otherwise."""
        self._is_loaded = True
        now_s = self._clock.now_s()
        self._lockout.load(records, now_s)
        for _, record in records.all(UserRecord, now_s):
            for address in reversed(record.known_addresses):
                self._learn((account_key(record.user), address))

    def lift(self, user: str) -> None:
        """Forget every failure of an account, once that is committed (``people.decide_update``)."""
        self._lockout.lift(user)

    def _learn(self, pair: tuple[str, str]) -> None:
        self._familiar[pair] = None
        self._familiar.move_to_end(pair)
        if len(self._familiar) > _FAMILIAR:
            self._familiar.popitem(last=False)


def decide_login_outcome(
    draft: SecurityDraft, outcome: LoginOutcome, request_id: str = "", *, operation: str = OPERATION
) -> UserRecord | None:
    """Store what an attempt led to.

    Returns:
        The person as stored now; null when the login is refused, also because the account was closed or its password
        changed while the old one was checked. Then the service raises ``login_refused()``.
    """
    read = outcome.record
    record = None if read is None else draft.get(UserRecord, read.user)
    if record is not None and read is not None:
        now, then = (record.created_at_s, record.password_version), (read.created_at_s, read.password_version)
        is_same = record.is_active and now == then
        record = record if is_same else None
    for lock, expires_at_s in outcome.locks:
        draft.put(lock.key, lock, expires_at_s)
    if record is None:
        draft.tell(
            AuditFact(
                kind="denied",
                subject=outcome.subject,
                operation=operation,
                outcome=LoginRefused.code,
                address=outcome.address,
                request_id=request_id,
            )
        )
        return None
    if draft.get(LockoutRecord, outcome.lifted) is not None:
        draft.delete(LockoutRecord, outcome.lifted)
    address = caller_of(outcome.address)
    known = tuple(dict.fromkeys((address, *record.known_addresses)))[:_KNOWN_ADDRESSES]
    update: dict[str, object] = {"last_login_at_s": draft.now_s, "known_addresses": known}
    if outcome.new_hash is not None:
        update["password_hash"] = outcome.new_hash.get_secret_value()
    record = record.model_copy(update=update)
    draft.put(record.user, record)
    return record
