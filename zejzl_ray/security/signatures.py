"""Checking signed requests: each nonce counts once, and an honest repetition is told from a replay."""

import hashlib
from typing import ClassVar, Final

from pydantic import SecretStr

from zejzl_ray.auth.credential_text import is_same, login_refused
from zejzl_ray.auth.signed_requests import SKEW_S, canonical_text, is_signed, is_timely
from zejzl_ray.commands.records import Record
from zejzl_ray.contracts.tokens import SignatureGrant
from zejzl_ray.errors import LoginRefused, Overloaded
from zejzl_ray.security.at_rest import MasterKeys
from zejzl_ray.security.credentials import CredentialRecord, find_active
from zejzl_ray.security.draft import AuditFact, SecurityDraft

MAX_NONCES: Final = 100_000
_NO_SECRET: Final = SecretStr("0" * 64)


class NonceRecord(Record):
    """A used nonce, under ``<credential id>.<nonce>``; kept until a signature of its time is too old anyhow."""

    KIND: ClassVar[str] = "nonce"

    digest: str


class RequestReplayed(LoginRefused):
    """A nonce came with another request than before; the caller is told what every failed proof is told.

    A refused command leaves nothing in its draft, so the fact for the audit trail travels with the error.
    """

    def __init__(self, message: str = "", remedy: str = "", fact: AuditFact | None = None) -> None:
        super().__init__(message, remedy)
        self.args = (message, remedy, fact)
        self.fact = fact


def check(
    draft: SecurityDraft, grant: SignatureGrant, master: MasterKeys, request_id: str, address: str = ""
) -> CredentialRecord:
    """Return the credential that signed a request, with the roles that it has at the moment.

    The same proof once more is an honest repetition and gets the same answer: the call that it leads to has the same
    request id, and the service repeats what it has answered.

    Args:
        draft: where used nonces are kept.
        grant: the proof.
        master: decrypts the signing secret.
        request_id: of the exchange, for the audit trail.
        address: of the caller, for the audit trail.

    Raises:
        LoginRefused: unknown, ended or no signing credential, wrong signature, or too far from the time of now.
        RequestReplayed: the nonce was used for another request; its ``fact`` belongs into the audit trail.
        Overloaded: too many nonces are kept.
    """
    record = find_active(draft, grant.credential_id, draft.now_s)
    secret = _NO_SECRET  # computed in any case, so that the time does not tell which ids exist
    if record is not None and record.is_signing:
        secret = SecretStr(master.decrypt(record.place, record.signing_secret).hex())
    is_right = is_signed(secret, grant) and is_timely(grant.at_s, draft.now_s)
    if record is None or not record.is_signing or not is_right:
        raise login_refused()
    key, digest = f"{record.credential_id}.{grant.nonce}", _digest(grant)
    used = draft.get(NonceRecord, key)
    if used is not None:
        if is_same(used.digest, digest):
            return record
        refused = login_refused()
        fact = AuditFact(
            kind="security_event", subject=record.subject, operation="security_gateway.issue_token",
            target=record.credential_id, outcome=refused.code, reason="token_replay", address=address,
            request_id=request_id, details={"nonce": grant.nonce},
        )  # fmt: skip
        raise RequestReplayed(refused.message, refused.remedy, fact)
    if draft.count(NonceRecord) >= MAX_NONCES:
        raise Overloaded(
            f"{MAX_NONCES} signed requests came within {2 * SKEW_S} s.", "Send again a little later."
        )
    # A second more than the last moment at which this signature is taken.
    draft.put(key, NonceRecord(digest=digest), grant.at_s + SKEW_S + 1.0)
    return record


def _digest(grant: SignatureGrant) -> str:
    text = canonical_text(grant.method, grant.target, grant.body_digest, grant.at_s, grant.nonce)
    return hashlib.sha256(text.encode()).hexdigest()
