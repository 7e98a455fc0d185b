"""What all operations of security_gateway share: the records, the way of a command, the feed."""

from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

from zejzl_ray.auth.floods import Floods
from zejzl_ray.auth.ports import AuditRecorder
from zejzl_ray.clock import Clock
from zejzl_ray.commands.group_writer import GroupWriter
from zejzl_ray.commands.record_journal import RecordJournal
from zejzl_ray.commands.records import Records
from zejzl_ray.commands.serving import require_serving
from zejzl_ray.contracts.access import Principal, principal_of
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.policy import Policy
from zejzl_ray.contracts.security_feed import FeedBatch, WatchFeed
from zejzl_ray.contracts.security_gateway import SERVICE
from zejzl_ray.contracts.tokens import PublicKey, Revoked
from zejzl_ray.contracts.trust import Observation, SecurityEvent
from zejzl_ray.errors import DeadlineExceeded, Overloaded, ServiceUnavailable, ZejzlError
from zejzl_ray.security.at_rest import MasterKeys
from zejzl_ray.security.audit_keeping import seal_facts
from zejzl_ray.security.config import SecurityConfig
from zejzl_ray.security.draft import SecurityDraft
from zejzl_ray.security.feed import Feed, FeedState
from zejzl_ray.security.guard_limits import limits_of
from zejzl_ray.security.issuing import Issuer
from zejzl_ray.security.lockout import Lockout
from zejzl_ray.security.login import Login
from zejzl_ray.security.passwords import HashingSettings, PasswordWorker
from zejzl_ray.security.policy_record import PolicyKeeper
from zejzl_ray.security.record_kinds import KINDS
from zejzl_ray.security.repeat_answers import RepeatAnswers
from zejzl_ray.security.revoking import RevocationRecord, Revoker, keep_revocations
from zejzl_ray.security.sessions import Sessions
from zejzl_ray.security.signing_keys import KeyRing, public_keys
from zejzl_ray.security.standings import standings_in_force
from zejzl_ray.security.tag_key import TagKey
from zejzl_ray.security.threats import Detectors
from zejzl_ray.store.protocol import Store

R = TypeVar("R", bound=Contract)
Decide = Callable[[SecurityDraft], Contract | ZejzlError]
_OBSERVED: Final = 10_000
# Of one subject, such as all replicas of the ingress: nobody may take the places of all verifiers.
_WATCHERS_OF_ONE: Final = 128
# So many looks at the store may fail before the gateway no longer knows that it is the one.
_UNSURE_LOOKS: Final = 4


class GatewayCore:
    """The committed records, and how they change.

    A command is decided on a draft, stored, and then answered; commands that wait together are stored together. One
    that refuses has changed nothing. The same command of the same caller gets the same answer for a while.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        config: SecurityConfig,
        master: MasterKeys,
        audit: AuditRecorder,
        default_policy: Policy,
        hashing: HashingSettings | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._config = config
        self._master = master
        self._audit = audit
        self._journal: RecordJournal[SecurityDraft] = RecordJournal(
            store,
            clock,
            KINDS,
            SecurityDraft,
            seal=seal_facts,
            on_commit=self._committed,
            on_reload=self._reloaded,
            commit_timeout_s=config.commit_timeout_s,
        )
        self._writer: GroupWriter[SecurityDraft] = GroupWriter(
            self._journal, max_queue=config.max_queue, max_batch=config.max_batch
        )
        self._tag_key = TagKey(master)
        self._answers = RepeatAnswers(master, self._tag_key, config)
        self._ring = KeyRing(master, config)
        self._issuer = Issuer(self._ring, config, audit, lambda: self._journal.records)
        self._sessions = Sessions(master, self._tag_key, config)
        self._revoker = Revoker(config)
        self._policies = PolicyKeeper(default_policy)
        self._feed = Feed(
            clock, self._whole_state, length=config.feed_length, max_watchers=config.max_watchers
        )
        self._hasher = PasswordWorker(clock, hashing)
        self._login = Login(self._hasher, Lockout(), clock)
        self._detectors = Detectors()
        # When the store last took something of this writer, wall time.
        self._stored_at_s = 0.0
        # Refused calls and proofs that wait for the detectors; the oldest go when nobody looks in time.
        self._observed: deque[Observation] = deque(maxlen=_OBSERVED)
        # Events that the detectors have found besides, to be kept with the next tick.
        self._found: list[SecurityEvent] = []
        # Credentials that were used since it was last written.
        self._used: set[str] = set()
        # subject -> its watch calls that wait
        self._watching: Counter[str] = Counter()
        # Refused proofs, by address: a flood of them must not wash the rest out of the trail.
        self._floods = Floods(clock, written_whole=100)
        self._is_serving = False

    # --- reading ---------------------------------------------------------------------------------------------

    @property
    def is_fenced(self) -> bool:
        """Whether another instance has taken over; this one must end."""
        return self._journal.is_fenced

    @property
    def records(self) -> Records:
        """The committed records, for reading; another object after a reload."""
        return self._journal.records

    def _reading(self) -> SecurityDraft:
        """Return a draft that nobody commits: the committed records as of now, in the form that deciders read."""
        self._require_ready()
        return SecurityDraft(self._journal.records, self._clock.now_s())

    def _policy_in(self, draft: SecurityDraft) -> Policy:
        return self._policies.current(draft).policy

    def _require_ready(self) -> None:
        require_serving(SERVICE, is_serving=self._is_serving, is_fenced=self.is_fenced)

    def _require_current(self) -> None:
        """Refuse to speak for what is in force when the store has not confirmed it for a while.

        Another instance may have taken over, and have revoked what this one still believes in.
        """
        self._require_ready()
        unsure_s = self._clock.now_s() - self._stored_at_s
        if self._journal.fault and unsure_s > _UNSURE_LOOKS * self._config.alive_s:
            raise ServiceUnavailable(
                f"{SERVICE} has not reached its store for {unsure_s:.0f} s, so it may have been replaced.",
                "Try again when the store answers; `zejzl status` says how it is.",
            )

    # --- the way of a command --------------------------------------------------------------------------------

    async def _command(
        self,
        operation: str,
        request: Any,
        call: CallContext,
        reply: type[R],
        decide: Decide,
        *,
        is_secret: bool = False,
        is_kept: bool = True,
    ) -> R:
        """Have a command decided and committed once, however often it is sent.

        Args:
            operation: its name.
            request: a contract with ``request_id``.
            call: who is calling, and until when it matters.
            reply: type of the answer.
            decide: decides on a draft; an error that it returns is raised once what it has put is durable.
            is_secret: the answer holds a secret and is kept encrypted.
            is_kept: false where repeating it has the same effect anyway and answers are many.
        """
        self._require_ready()
        caller = principal_of(call)
        if is_kept and (known := self._known_answer(operation, request, caller, reply)) is not None:
            return known

        def run(draft: SecurityDraft) -> Contract | ZejzlError:
            if is_kept and (text := self._answers.find(draft, operation, request, caller)):
                return reply.model_validate_json(text)
            answer = decide(draft)
            if is_kept and not isinstance(answer, ZejzlError):
                self._answers.keep(draft, operation, request, caller, answer, is_secret=is_secret)
            return answer

        answer = await self._submit(operation, run, call)
        if not isinstance(answer, reply):
            raise TypeError(f"{type(answer).__name__} is not the reply {reply.__name__}")
        return answer

    def _known_answer(self, operation: str, request: Any, caller: Principal, reply: type[R]) -> R | None:
        """Return the answer that this very command of this caller got; null for a new one.

        Raises:
            Conflict: the caller used the request id for something else.
        """
        text = self._answers.find(self._reading(), operation, request, caller)
        return None if text is None else reply.model_validate_json(text)

    async def _submit(self, operation: str, decide: Decide, call: CallContext | None = None) -> Contract:
        """Have something decided and committed.

        Raises:
            DeadlineExceeded: no outcome within the time; it may still take effect.
            ZejzlError: what ``decide`` raises or returns, and what the store raises.
        """
        timeout_s = self._config.command_timeout_s
        if call is not None and call.deadline_at_s is not None:
            timeout_s = min(timeout_s, call.deadline_at_s - self._clock.now_s())
            if timeout_s <= 0:
                raise DeadlineExceeded(
                    f"The deadline of {operation} was over when it arrived.",
                    "Send it again with a later one.",
                )
        try:
            answer = await self._writer.submit(lambda draft: _decided(draft, decide), timeout_s)
        except TimeoutError:
            raise DeadlineExceeded(
                f"{operation} was not committed within {timeout_s:.1f} s.",
                "It may still take effect; repeat it with the same request_id.",
            ) from None
        if isinstance(answer, ZejzlError):
            raise type(answer)(*answer.args)
        result: Contract = answer
        return result

    def _with_revision(self, revoked: Revoked) -> Revoked:
        return revoked.model_copy(update={"feed_revision": self._feed.revision})

    # --- for the detectors -----------------------------------------------------------------------------------

    def _observe(self, observation: Observation) -> None:
        """Have the detectors look at something with the next tick."""
        self._observed.append(observation)

    def _note(self, kind: str, subject: str, address: str) -> None:
        """Have the detectors look at a refused proof."""
        self._observe(
            Observation(
                kind=kind,
                subject=subject,
                address=address[:64],
                operation=f"{SERVICE}.issue_token",
                at_s=self._clock.now_s(),
            )
        )

    # --- the feed --------------------------------------------------------------------------------------------

    async def watch_feed(self, request: WatchFeed, call: CallContext) -> FeedBatch:
        """Wait for changes that verifiers have to know, and return them.

        Raises:
            Overloaded: too many callers wait, or this one too often.
            ServiceUnavailable: it cannot tell whether another instance has taken over.
        """
        who = principal_of(call).subject
        if self._watching[who] >= _WATCHERS_OF_ONE:
            raise Overloaded(f"{who} waits for changes {_WATCHERS_OF_ONE} times already.", "Ask again later.")
        self._watching[who] += 1
        try:
            return await self.watch(request)
        finally:
            self._watching[who] -= 1
            if not self._watching[who]:
                del self._watching[who]

    async def watch(self, request: WatchFeed) -> FeedBatch:
        """Wait as ``watch_feed``: for the guard of this very process."""
        return await self._feed.wait(request, self._require_current)

    async def fetch_keys(self) -> tuple[PublicKey, ...]:
        """Return the public keys: for the guard of this very process."""
        self._require_ready()
        return public_keys(self.records, self._clock.now_s())

    def _whole_state(self) -> FeedState:
        records, now_s = self._journal.records, self._clock.now_s()
        draft = SecurityDraft(records, now_s)
        return FeedState(
            keys=public_keys(records, now_s),
            limits=limits_of(draft, self._policy_in(draft)),
            revocations=tuple(record.revocation for _, record in records.all(RevocationRecord, now_s)),
            standings=standings_in_force(draft),
        )

    # --- after a commit (journal) ----------------------------------------------------------------------------

    def _committed(self, draft: SecurityDraft) -> None:
        if draft.ops:
            self._stored_at_s = draft.now_s
        if draft.are_keys_changed:
            self._issuer.forget_key()
        self._feed.add(
            revocations=draft.revocations,
            standings=draft.standings,
            are_keys_changed=draft.are_keys_changed,
            are_limits_changed=draft.are_limits_changed,
        )

    def _reloaded(self) -> None:
        self._issuer.forget_key()
        self._feed.restart(self._journal.epoch)


def _decided(draft: SecurityDraft, decide: Decide) -> Contract | ZejzlError:
    """Decide a command, all or nothing: one that raises leaves the draft as it was."""
    point = draft.savepoint()
    revocations, facts, standings = len(draft.revocations), len(draft.facts), dict(draft.standings)
    flags = draft.are_keys_changed, draft.are_limits_changed
    try:
        answer = decide(draft)
        keep_revocations(draft, revocations)
    except BaseException:
        draft.roll_back(point)
        del draft.revocations[revocations:]
        del draft.facts[facts:]
        draft.standings = standings
        draft.are_keys_changed, draft.are_limits_changed = flags
        raise
    return answer
