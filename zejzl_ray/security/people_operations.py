"""The operations of security_gateway on people. Hashing happens before anything is decided."""

from zejzl_ray.auth.credential_text import login_refused
from zejzl_ray.contracts.access import principal_of
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.people import (
    CreateUser,
    DeleteUser,
    GetUser,
    ListUsers,
    SetPassword,
    UpdateUser,
    User,
    UserDeleted,
    UserPage,
)
from zejzl_ray.errors import ZejzlError
from zejzl_ray.security import credential_records, people
from zejzl_ray.security.draft import SecurityDraft
from zejzl_ray.security.login import LoginOutcome, decide_login_outcome
from zejzl_ray.security.password_policy import require_good
from zejzl_ray.security.service_core import GatewayCore
from zejzl_ray.security.session_records import active_of


class PeopleOperations(GatewayCore):
    """Who is registered, with which roles and which password."""

    async def create_user(self, request: CreateUser, call: CallContext) -> User:
        """Register a person. Errors as ``people.decide_create`` and ``password_policy.require_good``."""
        draft, caller = self._reading(), principal_of(call)
        if (known := self._known_answer("create_user", request, caller, User)) is not None:
            return known
        require_good(request.password, request.user, self._policy_in(draft).password)
        password_hash = await self._hasher.hash(request.password)
        return await self._command(
            "create_user",
            request,
            call,
            User,
            lambda draft: people.decide_create(draft, request, caller, password_hash, self._policy_in(draft)),
        )

    async def list_users(self, request: ListUsers, call: CallContext) -> UserPage:
        """Return people in the order of their names."""
        draft = self._reading()
        return people.list_page(draft, request, sessions_of=lambda user: _sessions(draft, user))

    async def get_user(self, request: GetUser, call: CallContext) -> User:
        """Return one person.

        Raises:
            NotFound: there is no such person.
        """
        draft = self._reading()
        return people.get(draft, request, sessions=_sessions(draft, request.user))

    async def update_user(self, request: UpdateUser, call: CallContext) -> User:
        """Change roles, close or open an account, lift lock-outs. Logins end where rights shrink.

        Errors as ``people.decide_update``.
        """
        caller = principal_of(call)

        def decide(draft: SecurityDraft) -> User:
            before = len(draft.revocations)
            user = people.decide_update(
                draft,
                request,
                caller,
                self._policy_in(draft),
                sessions=_sessions(draft, request.user),
            )
            if len(draft.revocations) == before:
                return user
            self._sessions.decide_end_all(draft, people.subject_of(user.user), "its rights have shrunk")
            return user.model_copy(update={"sessions": 0})

        user = await self._command("update_user", request, call, User, decide)
        if request.is_unlocked:
            self._login.lift(user.user)
        return user

    async def delete_user(self, request: DeleteUser, call: CallContext) -> UserDeleted:
        """Remove a person; logins, credentials and tokens end. Errors as ``people.decide_delete``."""
        caller = principal_of(call)

        def decide(draft: SecurityDraft) -> UserDeleted:
            deleted = people.decide_delete(draft, request, caller)
            subject = people.subject_of(request.user)
            if deleted.was_there:
                self._sessions.decide_end_all(draft, subject, "the person was removed")
                credential_records.end_of_subject(draft, subject, "the person was removed")
            return deleted

        deleted = await self._command("delete_user", request, call, UserDeleted, decide)
        self._login.lift(request.user)
        return deleted

    async def set_password(self, request: SetPassword, call: CallContext) -> User:
        """Change a password; all other logins of the person end, and every token is renewed.

        Errors as ``people.decide_set_password`` and ``password_policy.require_good``.
        """
        draft, caller = self._reading(), principal_of(call)
        # Before the old password is looked at: by now it is not the right one any more.
        if (known := self._known_answer("set_password", request, caller, User)) is not None:
            return known
        require_good(request.new_password, request.user, self._policy_in(draft).password)
        subject = people.subject_of(request.user)
        # Also now: hashing is slow, and not for everybody.
        record = people.require_settable(draft, request, caller, self._policy_in(draft))
        is_old_right: bool | None = None
        if request.old_password is not None:
            # As a login, so that it is locked out like one.
            outcome = await self._login.attempt(
                self.records, request.user, request.old_password, caller.address
            )
            is_old_right = outcome.record is not None
            if outcome.observation is not None:
                self._observe(outcome.observation)
                await self._submit("set_password", lambda draft: _refused(draft, outcome, request.request_id))
        password_hash = await self._hasher.hash(request.new_password)

        def decide(draft: SecurityDraft) -> User:
            user = people.decide_set_password(
                draft,
                request,
                caller,
                password_hash,
                self._policy_in(draft),
                is_old_right=is_old_right,
                password_version=None if is_old_right is None else record.password_version,
                sessions=_sessions(draft, request.user),
            )
            own = caller.session if caller.subject == subject else ""
            self._sessions.decide_end_all(draft, subject, "the password was changed", but=own)
            return user.model_copy(update={"sessions": _sessions(draft, request.user)})

        return await self._command("set_password", request, call, User, decide)


def _refused(draft: SecurityDraft, outcome: LoginOutcome, request_id: str) -> ZejzlError:
    """Store the failure as that of a login, and have it raised."""
    decide_login_outcome(draft, outcome, request_id, operation="security_gateway.set_password")
    return login_refused()


def _sessions(draft: SecurityDraft, user: str) -> int:
    return len(active_of(draft, people.subject_of(user)))
