"""The gateway's signing keys: one signs, the next is published before it does, old ones stay while it matters."""

import base64
import hashlib
from typing import ClassVar, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from zejzl_ray.commands.records import Record, RecordDraft, Records
from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.tokens import PublicKey, RotateKeys, SigningKey, SigningKeys
from zejzl_ray.errors import ServiceUnavailable
from zejzl_ray.security.at_rest import MasterKeys
from zejzl_ray.security.config import SecurityConfig
from zejzl_ray.security.draft import AuditFact, SecurityDraft
from zejzl_ray.security.revoking import Revoker

_ROTATE = "security_gateway.rotate_keys"


class SigningKeyRecord(Record):
    """A signing key; the private half is encrypted with the master key."""

    KIND: ClassVar[str] = "signing_key"

    kid: str
    state: Literal["next", "signing", "retired"]
    public: str
    private: str
    created_at_s: float
    signs_from_s: float | None = None
    retired_at_s: float | None = None
    gone_at_s: float | None = None

    @property
    def place(self) -> str:
        """What the encryption of the private half is bound to."""
        return _place(self.kid)


class RotationRecord(Record):
    """A rotation that somebody asked for and that waits for the next key to be published long enough."""

    KIND: ClassVar[str] = "key_rotation"

    asked_at_s: float
    asked_by: str


class KeyRing:
    """Makes, rotates and shows the signing keys.

    Args:
        master: encrypts the private halves.
        config: lives and times.
    """

    def __init__(self, master: MasterKeys, config: SecurityConfig) -> None:
        self._master = master
        self._config = config
        self._revoker = Revoker(config)

    def new_key(self, now_s: float, state: Literal["next", "signing"]) -> SigningKeyRecord:
        """Return a new key pair; its id is the thumbprint of its public half (RFC 7638)."""
        private = Ed25519PrivateKey.generate()
        public = _url64(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
        kid = thumbprint(public)
        secret = private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        return SigningKeyRecord(
            kid=kid,
            state=state,
            public=public,
            private=self._master.encrypt(_place(kid), secret),
            created_at_s=now_s,
            signs_from_s=now_s if state == "signing" else None,
        )

    def private_of(self, record: SigningKeyRecord) -> Ed25519PrivateKey:
        """Return the private half.

        Raises:
            StoreError: the master key that encrypted it is missing, or the record was changed.
        """
        return Ed25519PrivateKey.from_private_bytes(self._master.decrypt(_place(record.kid), record.private))

    def is_due(self, records: Records, now_s: float) -> bool:
        """Tell whether ``decide_tick`` would change something; cheap, without a draft."""
        draft = SecurityDraft(records, now_s)
        self.decide_tick(draft)
        return bool(draft.ops)

    def decide_tick(self, draft: SecurityDraft) -> None:
        """Do what is due: make the first keys, let the next one sign, forget keys whose tokens have all expired."""
        now_s = draft.now_s
        self._forget_gone(draft)
        signing, following = _one(draft, "signing"), _one(draft, "next")
        if signing is None:
            self._put(draft, self.new_key(now_s, "signing"), "first key")
        if following is None:
            self._put(draft, self.new_key(now_s, "next"), "next key published")
        if signing is None or following is None:
            return
        asked = draft.get(RotationRecord, "asked")
        is_old = now_s >= (signing.signs_from_s or 0.0) + self._config.key_life_s
        if (is_old or asked) and self._is_published(following, now_s):
            self._promote(draft, signing, following, asked.asked_by if asked else "")

    def decide_rotate(self, draft: SecurityDraft, request: RotateKeys, caller: Principal) -> SigningKeys:
        """Begin a rotation; or replace all keys at once, which ends all tokens that they signed."""
        now_s = draft.now_s
        if request.is_immediate:
            for _, record in list(draft.all(SigningKeyRecord)):
                draft.delete(SigningKeyRecord, record.kid)
            draft.delete(RotationRecord, "asked")
            self._put(draft, self.new_key(now_s, "signing"), "")
            self._put(draft, self.new_key(now_s, "next"), "")
            # A verifier that has not heard of the keys yet hears of it in the same batch.
            draft.revoke(self._revoker.all_before(now_s))
        else:
            draft.put("asked", RotationRecord(asked_at_s=now_s, asked_by=caller.subject))
            self.decide_tick(draft)
        draft.tell(
            AuditFact(
                "keys",
                subject=caller.subject,
                operation=_ROTATE,
                reason=request.reason
                or ("all keys replaced at once" if request.is_immediate else "asked for"),
                address=caller.address,
                request_id=request.request_id,
            )
        )
        return listed(draft)

    def _is_published(self, record: SigningKeyRecord, now_s: float) -> bool:
        return now_s >= record.created_at_s + self._config.publish_ahead_s

    def _promote(
        self, draft: SecurityDraft, signing: SigningKeyRecord, following: SigningKeyRecord, asked_by: str
    ) -> None:
        now_s = draft.now_s
        gone_at_s = now_s + self._config.max_token_life_s + self._config.leeway_s + 1.0
        retired = signing.model_copy(
            update={"state": "retired", "retired_at_s": now_s, "gone_at_s": gone_at_s}
        )
        draft.put(retired.kid, retired)
        signs = following.model_copy(update={"state": "signing", "signs_from_s": now_s})
        draft.put(signs.kid, signs)
        draft.delete(RotationRecord, "asked")
        self._put(draft, self.new_key(now_s, "next"), "next key published")
        draft.tell(
            AuditFact("keys", subject=asked_by, operation=_ROTATE, target=signs.kid, reason="signs now")
        )

    @staticmethod
    def _forget_gone(draft: SecurityDraft) -> None:
        for _, record in list(draft.all(SigningKeyRecord)):
            if record.gone_at_s is not None and record.gone_at_s <= draft.now_s:
                draft.delete(SigningKeyRecord, record.kid)
                draft.are_keys_changed = True
                draft.tell(AuditFact("keys", operation=_ROTATE, target=record.kid, reason="gone"))

    @staticmethod
    def _put(draft: SecurityDraft, record: SigningKeyRecord, reason: str) -> None:
        draft.put(record.kid, record)
        draft.are_keys_changed = True
        if reason:
            draft.tell(AuditFact("keys", operation=_ROTATE, target=record.kid, reason=reason))


def signing_key(records: Records, now_s: float) -> SigningKeyRecord:
    """Return the key that signs.

    Raises:
        ServiceUnavailable: there is none yet.
    """
    for _, record in records.all(SigningKeyRecord, now_s):
        if record.state == "signing":
            return record
    raise ServiceUnavailable("There is no signing key yet.", "Try again a little later.")


def public_keys(records: Records, now_s: float) -> tuple[PublicKey, ...]:
    """Return the keys that may have signed a token that still counts, and the next one; newest first."""
    newest = sorted(
        (record for _, record in records.all(SigningKeyRecord, now_s)),
        key=lambda record: (-record.created_at_s, record.kid),
    )
    return tuple(PublicKey(kid=record.kid, x=record.public) for record in newest)


def listed(draft: RecordDraft) -> SigningKeys:
    """Return the keys without their private halves, newest first."""
    records = sorted(
        (record for _, record in draft.all(SigningKeyRecord)),
        key=lambda record: (-record.created_at_s, record.state, record.kid),
    )
    return SigningKeys(
        keys=tuple(
            SigningKey(
                kid=record.kid,
                state=record.state,
                created_at_s=record.created_at_s,
                signs_from_s=record.signs_from_s,
                retired_at_s=record.retired_at_s,
                gone_at_s=record.gone_at_s,
            )
            for record in records
        )
    )


def thumbprint(x: str) -> str:
    """Return the thumbprint of an Ed25519 public key given as base64url (RFC 7638, RFC 8037)."""
    return _url64(hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest())


def _one(draft: SecurityDraft, state: str) -> SigningKeyRecord | None:
    return next((record for _, record in draft.all(SigningKeyRecord) if record.state == state), None)


def _place(kid: str) -> str:
    return f"{SigningKeyRecord.KIND}/{kid}"


def _url64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
