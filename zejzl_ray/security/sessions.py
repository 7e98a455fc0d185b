"""Logins of people: a refresh token that changes with every use, and betrays whoever uses an old one.

``zr_<session>_<64 hexadecimal digits>``; the digits are a random half and its tag, so that an old token of the session
is told from one that somebody made up: the first ends the session, the second does nothing.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr

from zejzl_ray.auth.credential_text import login_refused
from zejzl_ray.contracts.tokens import Tokens
from zejzl_ray.security.at_rest import MasterKeys
from zejzl_ray.security.config import SecurityConfig
from zejzl_ray.security.draft import AuditFact, SecurityDraft
from zejzl_ray.security.revoking import Revoker
from zejzl_ray.security.session_records import SessionRecord, SubjectSessions, active_of, all_of
from zejzl_ray.security.tag_key import Tagger, TagKey

_TEXT: Final = re.compile(r"zr_([0-9a-f]{32})_([0-9a-f]{32})([0-9a-f]{32})")
_HALF_BYTES: Final = 16
REPLAYED: Final = "a refresh token was used twice"


@dataclass(frozen=True, slots=True)
class Refresh:
    """What a refresh token leads to.

    Attributes:
        session: to be renewed; null when ``answer`` or ``is_replay`` says what to do instead.
        answer: the same answer again.
        is_replay: an old token of this session was used.
    """

    session: SessionRecord | None = None
    answer: Tokens | None = None
    is_replay: bool = False


class Sessions:
    """Begins, renews and ends logins.

    Args:
        master: encrypts answers.
        tag_key: tags refresh tokens.
        config: lives and limits.
    """

    def __init__(self, master: MasterKeys, tag_key: TagKey, config: SecurityConfig) -> None:
        self._master = master
        self._config = config
        self._tagger = Tagger(tag_key, "refresh token")
        self._revoker = Revoker(config)

    def decide_begin(
        self, draft: SecurityDraft, subject: str, *, address: str, audience: str, scopes: tuple[str, ...]
    ) -> tuple[SessionRecord, SecretStr]:
        """Begin a session; above the limit the subject's oldest one ends.

        Returns:
            The session and its first refresh token.
        """
        now_s = draft.now_s
        session = secrets.token_hex(_HALF_BYTES)
        refresh = self._new_text(session)
        record = SessionRecord(
            session=session,
            subject=subject,
            created_at_s=now_s,
            last_used_at_s=now_s,
            expires_at_s=now_s + self._config.session_life_s,
            idle_until_s=now_s + self._config.session_idle_s,
            address=address,
            scopes=scopes,
            audience=audience,
            current_digest=_digest(refresh),
        )
        active = active_of(draft, subject)
        for oldest in active[: max(0, len(active) + 1 - self._config.sessions_per_user)]:
            self.decide_end(draft, oldest, "more logins than allowed")
        self._put(draft, record)
        known = all_of(draft, subject)
        over = [each.session for each in known if not each.is_active(now_s)][
            -self._config.sessions_per_user :
        ]
        listed = (each.session for each in known if each.is_active(now_s) or each.session in over)
        self._put_index(draft, subject, (*listed, session))
        return record, refresh

    def read(self, draft: SecurityDraft, text: SecretStr, request_id: str) -> Refresh:
        """Say what a refresh token leads to; changes nothing.

        Raises:
            LoginRefused: it belongs to no session that can be renewed.
        """
        found = _TEXT.fullmatch(text.get_secret_value())
        record = draft.get(SessionRecord, found[1]) if found else None
        if found is None or record is None or not self._tagger.is_tag(f"{found[1]}/{found[2]}", found[3]):
            raise login_refused()
        if not record.is_active(draft.now_s):
            raise login_refused()
        digest = _digest(text)
        if hmac.compare_digest(digest, record.current_digest):
            return Refresh(session=record)
        is_retry = (
            hmac.compare_digest(digest, record.previous_digest)
            and request_id == record.previous_request_id
            and draft.now_s <= record.previous_at_s + self._config.retry_window_s
        )
        if not is_retry:
            return Refresh(session=record, is_replay=True)
        answer = self._master.decrypt(record.place, record.previous_answer)
        return Refresh(answer=Tokens.model_validate_json(answer))

    def next_text(self, record: SessionRecord) -> SecretStr:
        """Return a new refresh token of the session."""
        return self._new_text(record.session)

    def idle_until_s(self, record: SessionRecord, now_s: float) -> float:
        """Return when the session ends unless it is renewed again, once it is renewed now."""
        return min(now_s + self._config.session_idle_s, record.expires_at_s)

    def decide_renew(
        self, draft: SecurityDraft, record: SessionRecord, tokens: Tokens, request_id: str, address: str
    ) -> None:
        """Put the session's next refresh token in force and keep the answer for an honest retry.

        Args:
            draft: what is changed.
            record: as ``read`` returned it.
            tokens: the answer, with the next refresh token.
            request_id: of the refresh; only its repetition gets the answer again.
            address: where the caller is.
        """
        if tokens.refresh_token is None:
            raise ValueError("the answer to a refresh holds the next refresh token")
        self._put(
            draft,
            record.model_copy(
                update={
                    "last_used_at_s": draft.now_s,
                    "idle_until_s": draft.now_s + self._config.session_idle_s,
                    "address": address or record.address,
                    "current_digest": _digest(tokens.refresh_token),
                    "previous_digest": record.current_digest,
                    "previous_request_id": request_id,
                    "previous_at_s": draft.now_s,
                    "previous_answer": self._master.encrypt(record.place, tokens.model_dump_json().encode()),
                }
            ),
        )

    def decide_replay(
        self, draft: SecurityDraft, record: SessionRecord, request_id: str, address: str
    ) -> None:
        """End the family of a refresh token that was used twice: one of the two users has stolen it."""
        self.decide_end(draft, record, REPLAYED)
        draft.tell(
            AuditFact(
                "security_event",
                subject=record.subject,
                operation="security_gateway.refresh_tokens",
                target=record.session,
                outcome="login_refused",
                reason=REPLAYED,
                address=address,
                request_id=request_id,
                details={"event": "token_replay", "level": "high"},
            )
        )

    def decide_end(self, draft: SecurityDraft, record: SessionRecord, because: str) -> bool:
        """End a session and have its tokens refused everywhere; false when it was over already."""
        if not record.is_active(draft.now_s):
            return False
        ended = record.model_copy(
            update={
                "ended_at_s": draft.now_s,
                "ended_because": because[:256],
                "current_digest": "",
                "previous_digest": "",
                "previous_answer": "",
            }
        )
        self._put(draft, ended)
        draft.revoke(self._revoker.session(record.session, draft.now_s))
        return True

    def decide_end_all(self, draft: SecurityDraft, subject: str, because: str, *, but: str = "") -> int:
        """End all sessions of a subject except for ``but``; return how many."""
        others = [record for record in active_of(draft, subject) if record.session != but]
        return sum(self.decide_end(draft, record, because) for record in others)

    def decide_end_before(self, draft: SecurityDraft, before_s: float, because: str) -> int:
        """End all sessions that were last renewed before a moment; return how many."""
        concerned = [record for _, record in draft.all(SessionRecord) if record.last_used_at_s < before_s]
        return sum(self.decide_end(draft, record, because) for record in concerned)

    def kept_until_s(self, record: SessionRecord) -> float:
        """Return when the store may forget a session: a while after its end, so that it can be listed."""
        ends_s = record.until_s if record.ended_at_s is None else record.ended_at_s
        return ends_s + self._config.session_kept_s

    def _new_text(self, session: str) -> SecretStr:
        half = secrets.token_hex(_HALF_BYTES)
        return SecretStr(f"zr_{session}_{half}{self._tagger.tag(f'{session}/{half}')[: 2 * _HALF_BYTES]}")

    def _put(self, draft: SecurityDraft, record: SessionRecord) -> None:
        draft.put(record.session, record, self.kept_until_s(record))

    def _put_index(self, draft: SecurityDraft, subject: str, sessions: tuple[str, ...]) -> None:
        kept_s = self._config.session_life_s + self._config.session_kept_s
        draft.put(subject, SubjectSessions(sessions=sessions), draft.now_s + kept_s)


def _digest(text: SecretStr) -> str:
    return hashlib.sha256(text.get_secret_value().encode()).hexdigest()
