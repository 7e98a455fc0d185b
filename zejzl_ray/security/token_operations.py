"""The operations of security_gateway on tokens and signing keys."""

import secrets
from typing import Final

from pydantic import SecretStr

from zejzl_ray.auth.credential_text import login_refused
from zejzl_ray.auth.scopes import narrowed
from zejzl_ray.contracts.access import Principal, principal_of
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.security_gateway import SERVICE
from zejzl_ray.contracts.tokens import (
    CredentialGrant,
    GetKeys,
    Identity,
    IssueToken,
    KeySetDocument,
    ListSigningKeys,
    PasswordGrant,
    RefreshTokens,
    RotateKeys,
    SignatureGrant,
    SigningKeys,
    Tokens,
    WhoAmI,
)
from zejzl_ray.errors import Forbidden, LoginRefused, RateLimited, ZejzlError
from zejzl_ray.security import credentials, service_credentials, signatures
from zejzl_ray.security.credential_records import CredentialRecord
from zejzl_ray.security.credentials import find_by_text
from zejzl_ray.security.draft import SecurityDraft
from zejzl_ray.security.issuing import Wish
from zejzl_ray.security.login import decide_login_outcome
from zejzl_ray.security.permissions import grants_of
from zejzl_ray.security.session_records import SessionRecord
from zejzl_ray.security.signing_keys import listed
from zejzl_ray.security.threat_operations import ThreatOperations
from zejzl_ray.security.user_record import UserRecord, subject_of

_ISSUE: Final = "issue_token"
_REFRESH: Final = "refresh_tokens"
_SESSION_BYTES: Final = 16


class TokenOperations(ThreatOperations):
    """Tokens for proofs. A credential's exchange waits for no disk; a login and a refresh are durable first."""

    async def issue_token(self, request: IssueToken, call: CallContext) -> Tokens:
        """Exchange a proof for an access token, and after a login for a refresh token too.

        Raises:
            LoginRefused: the proof does not count; the same words whatever the reason is.
            RateLimited: too many failed logins, or too many at the same time.
            Forbidden: a scope that was asked for is not held.
        """
        self._require_ready()
        address = principal_of(call).address
        try:
            match request.grant:
                case CredentialGrant():
                    return self._issue_by_credential(request, request.grant, call, address)
                case PasswordGrant():
                    return await self._issue_by_password(request, request.grant, call, address)
                case SignatureGrant():
                    return await self._issue_by_signature(request, request.grant, call, address)
        except LoginRefused as error:
            # Of a refused password, the trail and the detectors hear from the login itself, with the account.
            if not isinstance(request.grant, PasswordGrant):
                self._refused(_ISSUE, request.grant.kind, error, call)
            raise

    async def refresh_tokens(self, request: RefreshTokens, call: CallContext) -> Tokens:
        """Exchange a refresh token for the next one and a new access token.

        The same token with the same request id gets the same answer for a short while. Any other use of an old token
        ends the session.

        Raises:
            LoginRefused: it belongs to no session that can be renewed.
        """
        address = principal_of(call).address
        replayed: list[str] = []

        def decide(draft: SecurityDraft) -> Tokens | ZejzlError:
            found = self._sessions.read(draft, request.refresh_token, request.request_id)
            if found.answer is not None:
                return found.answer
            if found.session is None or found.is_replay:
                if found.session is not None:
                    self._sessions.decide_replay(draft, found.session, request.request_id, address)
                    replayed.append(found.session.subject)
                return login_refused()
            return self._renewed(draft, found.session, request.request_id, address)

        try:
            tokens = await self._command(_REFRESH, request, call, Tokens, decide, is_kept=False)
        except LoginRefused as error:
            if replayed:
                self._replayed(replayed[-1], address)
            else:
                self._refused(_REFRESH, "refresh token", error, call)
            raise
        self._seen(tokens.subject, address)
        self._issuer.tell(tokens, "refresh token", address=address, request_id=request.request_id)
        return tokens

    async def get_keys(self, request: GetKeys, call: CallContext) -> KeySetDocument:
        """Return the public keys: of all tokens that may still count, and the next one."""
        return KeySetDocument(keys=await self.fetch_keys())

    async def who_am_i(self, request: WhoAmI, call: CallContext) -> Identity:
        """Return who is calling, what it may do and how it stands."""
        self._require_ready()
        caller = principal_of(call)
        return Identity(
            subject=caller.subject,
            grants=caller.grants,
            session=caller.session,
            expires_at_s=caller.expires_at_s,
            standing=caller.standing.model_dump(mode="json"),
        )

    async def list_signing_keys(self, request: ListSigningKeys, call: CallContext) -> SigningKeys:
        """Return the signing keys without their private halves, newest first."""
        return listed(self._reading())

    async def rotate_keys(self, request: RotateKeys, call: CallContext) -> SigningKeys:
        """Begin a rotation, or replace all keys at once, which ends every token."""
        caller = principal_of(call)
        return await self._command(
            "rotate_keys",
            request,
            call,
            SigningKeys,
            lambda draft: self._ring.decide_rotate(draft, request, caller),
        )

    # --- by kind of proof ------------------------------------------------------------------------------------

    def _issue_by_credential(
        self, request: IssueToken, grant: CredentialGrant, call: CallContext, address: str
    ) -> Tokens:
        text = grant.credential.get_secret_value()
        self._require_current()
        draft = self._reading()
        if text.startswith(service_credentials.PREFIX):
            subject = service_credentials.subject_of(self._master, text)
            if subject is None:
                raise login_refused()
            grants = grants_of(subject, (), self._policy_in(draft))
            # Nothing is stored of it that could end, so each of its tokens is a session of its own.
            session = f"derived-{secrets.token_hex(_SESSION_BYTES)}"
            wish, proof = _wish(request, subject, grants, session), "derived credential"
        else:
            found = find_by_text(draft, grant.credential, draft.now_s)
            if found is None:
                raise login_refused()
            wish, proof = self._wish_of(found, request, draft), "credential"
            self._used.add(found.credential_id)
        try:
            tokens = self._issuer.issue(draft, wish)
        except Forbidden:
            self._note("denied", wish.subject, address)
            raise
        self._seen(tokens.subject, address)
        self._issuer.tell(tokens, proof, address=address, request_id=call.request_id)
        return tokens

    async def _issue_by_password(
        self, request: IssueToken, grant: PasswordGrant, call: CallContext, address: str
    ) -> Tokens:
        try:
            outcome = await self._login.attempt(self.records, grant.user, grant.password, address)
        except RateLimited as error:  # by a lock-out or a full queue: nothing was looked at
            self._refused(_ISSUE, "password", error, call, kind="rate_limited")
            raise
        if outcome.observation is not None:
            self._observe(outcome.observation)
            # A caller that is in a hurry must not keep its failure out of the trail and the lock-outs.
            call = call.model_copy(update={"deadline_at_s": None})

        def decide(draft: SecurityDraft) -> Tokens | ZejzlError:
            person = decide_login_outcome(draft, outcome, request.request_id)
            if person is None:
                return login_refused()
            subject = subject_of(person.user)
            grants = grants_of(subject, person.roles, self._policy_in(draft))
            session, refresh = self._sessions.decide_begin(
                draft, subject, address=address, audience=request.audience, scopes=request.scopes
            )
            tokens = self._issuer.issue(draft, _wish(request, subject, grants, session.session))
            return _with_refresh(tokens, refresh, session.until_s)

        tokens = await self._command(_ISSUE, request, call, Tokens, decide, is_kept=False)
        self._seen(tokens.subject, address)
        self._issuer.tell(tokens, "password", address=address, request_id=call.request_id)
        return tokens

    async def _issue_by_signature(
        self, request: IssueToken, grant: SignatureGrant, call: CallContext, address: str
    ) -> Tokens:
        # The signature is for one request. Only the door has that request; to anybody else who has seen it, a token
        # would open everything that the signer may do. An address is proof that a door asks.
        if not address or call.forwarded is None or not call.forwarded.is_exchange:
            raise login_refused()
        # The nonce is what makes the request the same request, whatever id it comes with.
        again = request.model_copy(update={"request_id": f"{grant.credential_id}.{grant.nonce}"})
        replayed: list[str] = []

        def decide(draft: SecurityDraft) -> Tokens | ZejzlError:
            try:
                record = signatures.check(draft, grant, self._master, request.request_id, address)
            except signatures.RequestReplayed as error:
                if error.fact is not None:
                    draft.tell(error.fact)
                    replayed.append(error.fact.subject)
                return login_refused()
            signer = Principal(subject=record.subject)
            known = self._answers.find(draft, _ISSUE, again, signer)
            if known is not None:
                return Tokens.model_validate_json(known)
            tokens = self._issuer.issue(draft, self._wish_of(record, request, draft))
            self._answers.keep(draft, _ISSUE, again, signer, tokens, is_secret=True)
            return tokens

        try:
            tokens = await self._command(_ISSUE, request, call, Tokens, decide, is_kept=False)
        except LoginRefused:
            if replayed:
                self._replayed(replayed[-1], address)
            raise
        self._used.add(grant.credential_id)
        self._seen(tokens.subject, address)
        self._issuer.tell(tokens, "signed request", address=address, request_id=call.request_id)
        return tokens

    def _refused(
        self, operation: str, proof: str, error: ZejzlError, call: CallContext, *, kind: str = "login_failed"
    ) -> None:
        """Tell the detectors and the trail of a proof that does not count; nobody knows whose it was meant to be."""
        address = principal_of(call).address
        self._note(kind, "", address)
        count = self._floods.count((address, operation))
        if count:
            self._audit.record(
                "denied",
                operation=f"{SERVICE}.{operation}",
                outcome=error.code,
                reason=proof,
                address=address,
                request_id=call.request_id,
                count=count,
            )

    def _renewed(
        self, draft: SecurityDraft, session: SessionRecord, request_id: str, address: str
    ) -> Tokens | ZejzlError:
        person = draft.get(UserRecord, session.subject.removeprefix(subject_of("")))
        if person is None or not person.is_active or person.created_at_s > session.created_at_s:
            return login_refused()
        held = grants_of(session.subject, person.roles, self._policy_in(draft))
        # What was held at the login and is not any more falls away.
        grants = narrowed(session.scopes, held)
        tokens = self._issuer.issue(
            draft,
            Wish(
                subject=session.subject,
                grants=grants,
                session=session.session,
                audience=session.audience,
                latest_s=session.expires_at_s,
            ),
        )
        refresh = self._sessions.next_text(session)
        tokens = _with_refresh(tokens, refresh, self._sessions.idle_until_s(session, draft.now_s))
        self._sessions.decide_renew(draft, session, tokens, request_id, address)
        return tokens

    def _wish_of(self, record: CredentialRecord, request: IssueToken, draft: SecurityDraft) -> Wish:
        policy = self._policy_in(draft)
        scopes = credentials.scopes_in_force(draft, record, policy)
        grants = grants_of(record.subject, record.roles, policy, scopes)
        return _wish(request, record.subject, grants, record.credential_id, record.expires_at_s)


def _wish(
    request: IssueToken, subject: str, grants: tuple[str, ...], session: str, latest_s: float | None = None
) -> Wish:
    return Wish(
        subject=subject,
        grants=grants,
        session=session,
        audience=request.audience,
        scopes=request.scopes,
        lifetime_s=request.lifetime_s,
        latest_s=latest_s,
    )


def _with_refresh(tokens: Tokens, refresh: SecretStr, until_s: float) -> Tokens:
    return tokens.model_copy(update={"refresh_token": refresh, "refresh_expires_at_s": until_s})
