"""There is one administrator's credential at a time, and a revoked one does not come back by itself."""

import pytest
from pydantic import SecretStr

from tests.unit.security.gateway_state import ADMIN, ROOT, GatewayState
from zejzl_ray.auth.credential_text import (
    credential_id_of,
    digest_of,
    new_credential,
    new_credential_id,
    new_secret_hex,
)
from zejzl_ray.contracts.tokens import CreateCredential, Credential, EnsureAdministrator, RevokeCredential
from zejzl_ray.errors import Conflict
from zejzl_ray.security.administrator import decide_ensure
from zejzl_ray.security.credentials import CredentialRecord, decide_create, decide_revoke, find_by_text
from zejzl_ray.security.policy_file import default_policy
from zejzl_ray.security.user_record import UserRecord


@pytest.fixture
def state() -> GatewayState:
    return GatewayState()


def ensure(state: GatewayState, text: SecretStr) -> Credential:
    request = EnsureAdministrator(secret_digest=digest_of(text), credential_id=credential_id_of(text))
    return state.run(decide_ensure, request, ROOT)


def roles(state: GatewayState, text: SecretStr) -> tuple[str, ...] | None:
    record = find_by_text(state.records, text, state.now_s)
    return None if record is None else record.roles


def test_the_first_start_makes_the_user_without_a_password_and_the_credential(state: GatewayState) -> None:
    text = new_credential()
    made = ensure(state, text)
    assert (made.subject, made.roles, made.expires_at_s) == ("user:admin", ("admin",), None)
    user = state.get(UserRecord, "admin")
    assert user is not None
    assert (user.roles, user.password_hash, user.created_by) == (("admin",), None, "service:root")
    assert roles(state, text) == ("admin",)
    assert [fact.kind for fact in state.facts] == ["people", "credential"]
    assert text.get_secret_value()[-64:] not in state.texts()


def test_the_next_start_changes_nothing(state: GatewayState) -> None:
    text = new_credential()
    made = ensure(state, text)
    state.restart(CredentialRecord, UserRecord)
    assert ensure(state, text) == made
    assert state.last.ops == []
    assert state.last.facts == []


def test_another_file_replaces_the_one_before(state: GatewayState) -> None:
    old, new = new_credential(), new_credential()
    ensure(state, old)
    ensure(state, new)
    assert [revocation.value for revocation in state.last.revocations] == [credential_id_of(old)]
    assert (roles(state, old), roles(state, new)) == (None, ("admin",))
    with pytest.raises(Conflict, match="was revoked"):
        ensure(state, old)
    assert roles(state, new) == ("admin",)


def test_a_revoked_file_does_not_come_back_even_years_later(state: GatewayState) -> None:
    text = new_credential()
    ensure(state, text)
    state.run(decide_revoke, RevokeCredential(credential_id=credential_id_of(text)), ADMIN)
    state.now_s += 3 * 366 * 86_400
    with pytest.raises(Conflict, match="zejzl up") as caught:
        ensure(state, text)
    assert text.get_secret_value()[-64:] not in str(caught.value)


def test_the_id_of_another_credential_is_refused(state: GatewayState) -> None:
    credential_id = new_credential_id()
    state.run(
        decide_create, CreateCredential(subject="program:x"), ADMIN, default_policy(), state.master,
        new_secret_hex(), credential_id,
    )  # fmt: skip
    with pytest.raises(Conflict, match="not the administrator's"):
        state.run(
            decide_ensure, EnsureAdministrator(secret_digest="0" * 64, credential_id=credential_id), ROOT
        )


def test_the_right_id_with_another_digest_is_refused(state: GatewayState) -> None:
    text = new_credential()
    ensure(state, text)
    request = EnsureAdministrator(secret_digest="0" * 64, credential_id=credential_id_of(text))
    with pytest.raises(Conflict, match="not the administrator's"):
        state.run(decide_ensure, request, ROOT)


def test_a_user_that_is_there_stays_as_it_is(state: GatewayState) -> None:
    text = new_credential()
    ensure(state, text)
    user = state.get(UserRecord, "admin")
    assert user is not None
    closed = user.model_copy(update={"is_active": False})
    state.put("admin", closed)
    ensure(state, text)
    assert state.get(UserRecord, "admin") == closed
    assert roles(state, text) is None


def test_a_removed_administrator_is_made_anew_and_the_file_counts_again(state: GatewayState) -> None:
    text = new_credential()
    ensure(state, text)
    state.records.delete(UserRecord.KIND, "admin")
    assert roles(state, text) is None
    state.now_s += 5
    ensure(state, text)
    assert roles(state, text) == ("admin",)
