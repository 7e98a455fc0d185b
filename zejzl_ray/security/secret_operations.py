"""The operations of security_gateway on secrets, and the encryption of everything at rest."""

from zejzl_ray.contracts.access import principal_of
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.secrets import (
    GetSecret,
    ListSecrets,
    MasterKeyRotated,
    RevokeSecret,
    RotateMasterKey,
    RotateSecret,
    SecretInfo,
    SecretList,
    SecretValue,
    SetSecret,
)
from zejzl_ray.errors import NotFound, ZejzlError
from zejzl_ray.security import secrets
from zejzl_ray.security.draft import SecurityDraft
from zejzl_ray.security.master_rotation import SECRETS, SIGNING_SECRETS, AtRest, decide_rotate_master
from zejzl_ray.security.repeat_answers import AnswerRecord
from zejzl_ray.security.service_core import GatewayCore
from zejzl_ray.security.session_records import SessionRecord
from zejzl_ray.security.signing_keys import SigningKeyRecord
from zejzl_ray.security.tag_key import TagKeyRecord


class SecretOperations(GatewayCore):
    """Secrets that an operator sets and their readers alone get."""

    async def set_secret(self, request: SetSecret, call: CallContext) -> SecretInfo:
        """Store a secret for its readers. Errors as ``secrets.decide_set``."""
        caller = principal_of(call)
        return await self._command(
            "set_secret",
            request,
            call,
            SecretInfo,
            lambda draft: secrets.decide_set(draft, request, caller, self._master),
        )

    async def list_secrets(self, request: ListSecrets, call: CallContext) -> SecretList:
        """Return secrets without their values, in the order of their names."""
        return secrets.decide_list(self._reading(), request, principal_of(call))

    async def get_secret(self, request: GetSecret, call: CallContext) -> SecretValue:
        """Return a secret to one of its readers; the audit trail says so, durably, before the answer.

        Raises:
            NotFound: there is none for the caller.
        """
        caller = principal_of(call)

        def decide(draft: SecurityDraft) -> SecretValue | ZejzlError:
            try:
                return secrets.decide_get(draft, request, caller, self._master, call.request_id)
            except secrets.SecretWithheld as error:
                if error.fact is not None:
                    draft.tell(error.fact)
                return NotFound(error.message, error.remedy)

        return await self._command("get_secret", request, call, SecretValue, decide, is_kept=False)

    async def rotate_secret(self, request: RotateSecret, call: CallContext) -> SecretInfo:
        """Replace a secret's value; its readers stay. Errors as ``secrets.decide_rotate``."""
        caller = principal_of(call)
        return await self._command(
            "rotate_secret",
            request,
            call,
            SecretInfo,
            lambda draft: secrets.decide_rotate(draft, request, caller, self._master),
        )

    async def revoke_secret(self, request: RevokeSecret, call: CallContext) -> SecretInfo:
        """Remove a secret's value for good. Errors as ``secrets.decide_revoke``."""
        caller = principal_of(call)
        return await self._command(
            "revoke_secret",
            request,
            call,
            SecretInfo,
            lambda draft: secrets.decide_revoke(draft, request, caller),
        )

    async def rotate_master_key(self, request: RotateMasterKey, call: CallContext) -> MasterKeyRotated:
        """Encrypt everything at rest with the newest master key. Errors as ``master_rotation.decide_rotate_master``.

        Until it has returned, the old keys have to stay in the key file.
        """
        caller = principal_of(call)
        return await self._command(
            "rotate_master_key",
            request,
            call,
            MasterKeyRotated,
            lambda draft: decide_rotate_master(draft, request, caller, self._master, self._at_rest()),
        )

    def _at_rest(self) -> tuple[AtRest, ...]:
        """Return every field that is encrypted."""
        return (
            SECRETS,
            SIGNING_SECRETS,
            AtRest(SigningKeyRecord, "private", lambda record: record.place),
            AtRest(TagKeyRecord, "sealed", lambda record: record.place),
            AtRest(
                SessionRecord, "previous_answer", lambda record: record.place, self._sessions.kept_until_s
            ),
            AtRest(AnswerRecord, "sealed", lambda record: record.place, lambda record: record.until_s),
        )
