"""The operations of security_gateway on logins and revocations."""

from zejzl_ray.contracts.access import Principal, principal_of
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.tokens import (
    EndSession,
    ListOwnSessions,
    ListSessions,
    Revoked,
    RevokeTokens,
    SessionPage,
)
from zejzl_ray.errors import NotFound
from zejzl_ray.security import credential_records
from zejzl_ray.security.draft import AuditFact, SecurityDraft
from zejzl_ray.security.revoking import check_request, fact_of
from zejzl_ray.security.service_core import GatewayCore
from zejzl_ray.security.session_records import SessionRecord, list_own, list_page


class SessionOperations(GatewayCore):
    """Logins listed and ended, and everything else that no longer counts."""

    async def list_sessions(self, request: ListSessions, call: CallContext) -> SessionPage:
        """Return logins, newest first; those that are over are listed for a day."""
        return list_page(self._reading(), request)

    async def list_own_sessions(self, request: ListOwnSessions, call: CallContext) -> SessionPage:
        """Return the caller's own logins, newest first."""
        return list_own(self._reading(), principal_of(call))

    async def end_session(self, request: EndSession, call: CallContext) -> Revoked:
        """End a login; its tokens are refused everywhere. One that is over already stays as it is.

        Raises:
            NotFound: there is no such login.
        """
        return await self._end_session("end_session", request, call, is_own=False)

    async def end_own_session(self, request: EndSession, call: CallContext) -> Revoked:
        """End a login of the caller's own.

        Raises:
            NotFound: the caller has no such login.
        """
        return await self._end_session("end_own_session", request, call, is_own=True)

    async def revoke_tokens(self, request: RevokeTokens, call: CallContext) -> Revoked:
        """Have all verifiers refuse a token, a session or credential, a subject, or everything before a moment.

        With its subject or its session, what could get new tokens ends too: logins and credentials. Those of the
        cluster's own services and machines follow from the master key and cannot end. ``everything_before_s`` ends
        all tokens and the logins that were not renewed since; credentials stay, and get new tokens.

        Raises:
            InvalidInput: not exactly one thing, or a moment that is still to come.
            Overloaded: too many revocations are in force.
        """
        caller = principal_of(call)
        revoked = await self._command(
            "revoke_tokens", request, call, Revoked, lambda draft: self._decide_revoke(draft, request, caller)
        )
        return self._with_revision(revoked)

    def _decide_revoke(self, draft: SecurityDraft, request: RevokeTokens, caller: Principal) -> Revoked:
        now_s, revoker = draft.now_s, self._revoker
        check_request(request, now_s)
        revoker.require_room(draft)
        reason = request.reason or "revoked"
        sessions = credentials = 0
        if request.token_id is not None:
            draft.revoke(revoker.token(request.token_id, now_s))
        elif request.session is not None:
            sessions, credentials = self._revoke_session(draft, request.session, reason)
        elif request.subject is not None:
            sessions = self._sessions.decide_end_all(draft, request.subject, reason)
            credentials = credential_records.end_of_subject(draft, request.subject, reason)
            draft.revoke(revoker.subject(request.subject, now_s))
        else:
            before_s = min(request.everything_before_s or now_s, now_s)
            sessions = self._sessions.decide_end_before(draft, before_s, reason)
            draft.revoke(revoker.all_before(before_s))
        draft.tell(fact_of(request, caller))
        return Revoked(feed_revision=0, ended_sessions=sessions, ended_credentials=credentials)

    def _revoke_session(self, draft: SecurityDraft, session: str, reason: str) -> tuple[int, int]:
        """Return how many sessions and credentials have ended; all tokens of it are revoked in any case."""
        record = draft.get(SessionRecord, session)
        if record is not None and self._sessions.decide_end(draft, record, reason):
            return 1, 0
        credential = credential_records.get(draft, session, draft.now_s)
        if credential is not None and credential.is_active(draft.now_s):
            credential_records.end(draft, credential, reason)
            return 0, 1
        draft.revoke(self._revoker.session(session, draft.now_s))
        return 0, 0

    async def _end_session(
        self, operation: str, request: EndSession, call: CallContext, *, is_own: bool
    ) -> Revoked:
        caller = principal_of(call)

        def decide(draft: SecurityDraft) -> Revoked:
            record = draft.get(SessionRecord, request.session)
            if record is None or (is_own and record.subject != caller.subject):
                raise NotFound("There is no such login.", "List them for their ids.")
            because = (
                "ended by its owner" if record.subject == caller.subject else f"ended by {caller.subject}"
            )
            if not self._sessions.decide_end(draft, record, because):
                return Revoked(feed_revision=0)
            draft.tell(
                AuditFact(
                    "revoked",
                    subject=caller.subject,
                    operation=f"security_gateway.{operation}",
                    target=record.session,
                    reason=because,
                    address=caller.address,
                    request_id=request.request_id,
                    details={"subject": record.subject},
                )
            )
            return Revoked(feed_revision=0, ended_sessions=1)

        return self._with_revision(await self._command(operation, request, call, Revoked, decide))
