"""The operations of security_gateway on credentials, the enrolment of machines, and the administrator."""

from zejzl_ray.auth.credential_text import new_credential_id, new_secret_hex
from zejzl_ray.contracts.access import principal_of
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.tokens import (
    CreateCredential,
    Credential,
    CredentialPage,
    DecideEnrolment,
    Enrolment,
    EnsureAdministrator,
    ListCredentials,
    NewCredential,
    RequestEnrolment,
    RevokeCredential,
    Revoked,
)
from zejzl_ray.security import administrator, credentials, enrolment
from zejzl_ray.security.service_core import GatewayCore


class CredentialOperations(GatewayCore):
    """Long-lived proofs of programs, agents and machines, and of the administrator's file."""

    async def create_credential(self, request: CreateCredential, call: CallContext) -> NewCredential:
        """Make a credential; its text is in the answer and nowhere else. Errors as ``credentials.decide_create``."""
        caller = principal_of(call)
        secret_hex, credential_id = new_secret_hex(), new_credential_id()
        return await self._command(
            "create_credential",
            request,
            call,
            NewCredential,
            lambda draft: credentials.decide_create(
                draft, request, caller, self._policy_in(draft), self._master, secret_hex, credential_id
            ),
            is_secret=True,
        )

    async def list_credentials(self, request: ListCredentials, call: CallContext) -> CredentialPage:
        """Return credentials without their secrets, in the order of their ids."""
        return credentials.decide_list(self._reading(), request, principal_of(call))

    async def revoke_credential(self, request: RevokeCredential, call: CallContext) -> Revoked:
        """End a credential and the tokens that came from it. Errors as ``credentials.decide_revoke``."""
        caller = principal_of(call)
        revoked = await self._command(
            "revoke_credential",
            request,
            call,
            Revoked,
            lambda draft: credentials.decide_revoke(draft, request, caller),
        )
        return self._with_revision(revoked)

    async def request_enrolment(self, request: RequestEnrolment, call: CallContext) -> Enrolment:
        """Note that a machine wants to be let in, or say where its request stands.

        Errors as ``enrolment.decide_request``.
        """
        caller = principal_of(call)
        return await self._command(
            "request_enrolment",
            request,
            call,
            Enrolment,
            lambda draft: enrolment.decide_request(draft, request, caller),
            is_kept=False,  # the digest makes it the same request
        )

    async def decide_enrolment(self, request: DecideEnrolment, call: CallContext) -> Enrolment:
        """Let a waiting machine in, or refuse it. Errors as ``enrolment.decide_decision``."""
        caller = principal_of(call)
        return await self._command(
            "decide_enrolment",
            request,
            call,
            Enrolment,
            lambda draft: enrolment.decide_decision(draft, request, caller, self._policy_in(draft)),
        )

    async def ensure_administrator(self, request: EnsureAdministrator, call: CallContext) -> Credential:
        """Make the administrator of a credential file the one there is. Errors as ``administrator.decide_ensure``."""
        caller = principal_of(call)
        return await self._command(
            "ensure_administrator",
            request,
            call,
            Credential,
            lambda draft: administrator.decide_ensure(draft, request, caller),
            is_kept=False,  # the digest makes it the same request
        )
