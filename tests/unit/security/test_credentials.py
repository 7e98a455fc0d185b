"""Long-lived credentials: nobody gives more than they hold, what is kept lets nobody in, what has ended is over."""

from itertools import count
from typing import Any

import pytest
from pydantic import SecretStr

from tests.unit.security.gateway_state import ADMIN, GatewayState
from zejzl_ray.auth.credential_text import new_credential_id, new_secret_hex, parse_text, secret_digest
from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.policy import RatePolicy
from zejzl_ray.contracts.tokens import CreateCredential, ListCredentials, NewCredential, RevokeCredential
from zejzl_ray.errors import Conflict, Forbidden, InvalidInput, NoCapacity, NotFound
from zejzl_ray.security import credentials
from zejzl_ray.security.credentials import (
    CredentialRecord,
    decide_create,
    decide_list,
    decide_revoke,
    end_of_subject,
    find_active,
    find_by_text,
    note_use,
    rates,
)
from zejzl_ray.security.permissions import grants_of
from zejzl_ray.security.policy_file import default_policy
from zejzl_ray.security.user_record import UserRecord

DAY_S = 86_400.0


@pytest.fixture
def state() -> GatewayState:
    return GatewayState()


def create(
    state: GatewayState, subject: str = "program:x", caller: Principal = ADMIN, **fields: Any
) -> NewCredential:
    request = CreateCredential(subject=subject, **fields)
    return state.run(
        decide_create, request, caller, default_policy(), state.master, new_secret_hex(), new_credential_id()
    )


def revoke(state: GatewayState, credential_id: str, reason: str = "") -> int:
    request = RevokeCredential(credential_id=credential_id, reason=reason)
    return state.run(decide_revoke, request, ADMIN).ended_credentials


def person(state: GatewayState, name: str, *roles: str, is_active: bool = True) -> None:
    state.put(name, UserRecord(user=name, roles=roles, created_at_s=state.now_s, is_active=is_active))


def found(state: GatewayState, made: NewCredential) -> CredentialRecord | None:
    return find_by_text(state.records, made.secret, state.now_s)


def test_a_new_credential_is_found_by_its_text_in_records_and_drafts(state: GatewayState) -> None:
    made = create(state, label="ci", roles=("viewer",))
    record = found(state, made)
    assert record is not None
    assert (record.subject, record.roles, record.created_by) == ("program:x", ("viewer",), "user:admin")
    assert find_by_text(state.draft(), made.secret.get_secret_value(), state.now_s) == record
    assert made.credential.is_active


def test_a_credential_survives_a_restart(state: GatewayState) -> None:
    made = create(state)
    state.restart(CredentialRecord)
    assert found(state, made) is not None


def test_nothing_that_is_kept_or_printed_holds_the_secret(state: GatewayState) -> None:
    for is_signing in (False, True):
        made = create(state, is_signing=is_signing)
        text = made.secret.get_secret_value()
        secret = text.rpartition("_")[2]
        record = state.get(CredentialRecord, made.credential.credential_id)
        printed = f"{state.texts()}{record!r}{made!r}{made}{made.model_dump()}{record}"
        assert secret not in printed
        assert text in made.model_dump_json()


@pytest.mark.parametrize("wrong", ["", "zk_", "zk_0_0", "Bearer x", "zs_root_" + "0" * 64, "zk_\ud800"])
def test_a_text_of_another_form_is_found_nowhere(state: GatewayState, wrong: str) -> None:
    create(state)
    assert find_by_text(state.records, wrong, state.now_s) is None


def test_one_wrong_digit_is_not_found(state: GatewayState) -> None:
    text = create(state).secret.get_secret_value()
    last = "0" if text[-1] != "0" else "1"
    assert find_by_text(state.records, text[:-1] + last, state.now_s) is None
    other = create(state).secret.get_secret_value()
    assert find_by_text(state.records, text[:20] + other[20:], state.now_s) is None


def test_an_expired_credential_does_not_count_and_is_listed_for_a_while(state: GatewayState) -> None:
    made = create(state, lifetime_s=60)
    state.now_s += 59
    assert found(state, made) is not None
    state.now_s += 1
    assert found(state, made) is None
    (listed,) = state.run(decide_list, ListCredentials(), ADMIN).credentials
    assert (listed.is_active, listed.ended_because) == (False, "expired")
    state.now_s += 31 * DAY_S
    assert state.run(decide_list, ListCredentials(), ADMIN).credentials == ()


def test_a_revoked_credential_does_not_count_and_its_tokens_neither(state: GatewayState) -> None:
    made = create(state)
    credential_id = made.credential.credential_id
    assert revoke(state, credential_id, "laptop lost") == 1
    (revocation,) = state.last.revocations
    assert (revocation.kind, revocation.value) == ("session", credential_id)
    assert revocation.until_s > state.now_s + 3600
    assert found(state, made) is None
    fact = state.facts[-1]
    assert (fact.kind, fact.target, fact.reason, fact.subject) == (
        "revoked", credential_id, "laptop lost", "user:admin",
    )  # fmt: skip
    assert revoke(state, credential_id) == 0
    assert state.last.ops == []
    assert state.last.facts == []
    (listed,) = state.run(decide_list, ListCredentials(), ADMIN).credentials
    assert listed.ended_because == "laptop lost"


def test_revoking_an_expired_one_ends_nothing_but_keeps_it_shut(state: GatewayState) -> None:
    made = create(state, lifetime_s=1)
    state.now_s += 2
    assert revoke(state, made.credential.credential_id) == 0
    assert state.last.revocations != []


def test_revoking_what_does_not_exist_says_so(state: GatewayState) -> None:
    with pytest.raises(NotFound, match="no credential ffff"):
        revoke(state, "ffff")


@pytest.mark.parametrize(
    "fields",
    [{"roles": ("admin",)}, {"scopes": ("security_gateway:users:admin",)}, {"scopes": ("*:agents:read",)}],
)
def test_nobody_gives_a_right_that_they_do_not_have(state: GatewayState, fields: dict[str, Any]) -> None:
    held = (*grants_of("user:bo", ("operator",), default_policy()), "security_gateway:credentials:admin")
    bo = Principal(subject="user:bo", grants=held)
    with pytest.raises(Forbidden, match="which you do not have"):
        create(state, caller=bo, **fields)
    assert create(state, caller=bo, roles=("operator",)).credential.roles == ("operator",)


def test_the_rights_of_the_subjects_kind_count_as_given(state: GatewayState) -> None:
    nobody = Principal(subject="user:bo", grants=("security_gateway:credentials:admin",))
    with pytest.raises(Forbidden, match="machine:pc9"):
        create(state, "machine:pc9", caller=nobody)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"roles": ("emperor",)}, "no role emperor"),
        ({"subject": "service:root"}, "credentials of their own"),
        ({"lifetime_s": 1e300}, "10 years"),
    ],
)
def test_what_cannot_be_made_is_refused_with_the_reason(
    state: GatewayState, fields: dict[str, Any], text: str
) -> None:
    with pytest.raises(InvalidInput, match=text):
        create(state, **{"subject": "program:x", **fields})


def test_a_malformed_secret_or_a_taken_id_is_refused(state: GatewayState) -> None:
    request = CreateCredential(subject="program:x")
    policy, secret = default_policy(), new_secret_hex()
    for wrong_secret, wrong_id in ((secret[:-1], "0" * 16), (secret, "X" * 16), (secret + "\n", "0" * 16)):
        with pytest.raises(ValueError, match="hexadecimal") as caught:
            state.run(decide_create, request, ADMIN, policy, state.master, wrong_secret, wrong_id)
        assert secret[:-1] not in str(caught.value)
    state.run(decide_create, request, ADMIN, policy, state.master, secret, "0" * 16)
    with pytest.raises(Conflict, match="already"):
        state.run(decide_create, request, ADMIN, policy, state.master, secret, "0" * 16)


def test_a_signing_credential_cannot_be_exchanged_as_a_text(state: GatewayState) -> None:
    made = create(state, is_signing=True)
    secret, credential_id = made.secret.get_secret_value(), made.credential.credential_id
    record = find_active(state.records, credential_id, state.now_s)
    assert record is not None
    assert record.is_signing
    assert state.master.decrypt(record.place, record.signing_secret).hex() == secret
    assert find_by_text(state.records, f"zk_{credential_id}_{secret}", state.now_s) is None


# --- people -------------------------------------------------------------------------------------------------


def test_a_persons_credential_has_the_roles_of_the_account_at_the_moment(state: GatewayState) -> None:
    person(state, "ada", "operator", "viewer")
    whole, narrow = create(state, "user:ada"), create(state, "user:ada", roles=("viewer",))
    assert [record.roles for made in (whole, narrow) if (record := found(state, made))] == [
        ("operator", "viewer"),
        ("viewer",),
    ]
    account = state.get(UserRecord, "ada")
    assert account is not None
    state.put("ada", account.model_copy(update={"roles": ("operator",)}))
    assert [record.roles for made in (whole, narrow) if (record := found(state, made))] == [("operator",), ()]


def test_a_closed_or_removed_account_closes_its_credentials(state: GatewayState) -> None:
    person(state, "ada", "viewer")
    made = create(state, "user:ada")
    person(state, "ada", "viewer", is_active=False)
    assert found(state, made) is None
    state.records.delete("user", "ada")
    assert found(state, made) is None
    state.now_s += 1
    person(state, "ada", "viewer")  # somebody else of the same name
    assert found(state, made) is None


def test_a_persons_credential_has_no_role_that_the_person_lacks(state: GatewayState) -> None:
    person(state, "ada", "viewer")
    with pytest.raises(InvalidInput, match="does not have the role admin"):
        create(state, "user:ada", roles=("admin",))
    with pytest.raises(NotFound, match="user:bo"):
        create(state, "user:bo")


def test_nobody_makes_a_credential_of_somebody_who_may_do_more(state: GatewayState) -> None:
    person(state, "ada", "admin")
    bo = Principal(subject="user:bo", grants=("security_gateway:*:*",))
    with pytest.raises(Forbidden, match="user:ada would have"):
        create(state, "user:ada", caller=bo)


def test_all_credentials_of_a_subject_end_together(state: GatewayState) -> None:
    mine = [create(state, "agent:A") for _ in range(3)]
    other = create(state, "agent:B")
    assert state.run(end_of_subject, "agent:A", "removed") == 3
    assert len(state.last.revocations) == 3
    assert [found(state, made) for made in mine] == [None, None, None]
    assert found(state, other) is not None
    assert state.run(end_of_subject, "agent:A", "removed") == 0


# --- lists, uses, limits ------------------------------------------------------------------------------------


def test_lists_are_filtered_and_paged_in_the_order_of_ids(state: GatewayState) -> None:
    made = [create(state, label=f"Robot {number}") for number in range(5)]
    create(state, "agent:A", label="other")
    revoke(state, made[0].credential.credential_id)
    ids = sorted(each.credential.credential_id for each in made)
    request = ListCredentials(label="roBOT", limit=2)
    pages = []
    while True:
        page = state.run(decide_list, request, ADMIN)
        pages.append([each.credential_id for each in page.credentials])
        if not page.next_cursor:
            break
        request = request.model_copy(update={"cursor": page.next_cursor})
    assert pages == [ids[:2], ids[2:4], ids[4:]]
    active = state.run(decide_list, ListCredentials(label="robot", is_active_only=True), ADMIN)
    assert len(active.credentials) == 4
    (one,) = state.run(decide_list, ListCredentials(subject="agent:A"), ADMIN).credentials
    assert one.label == "other"
    assert state.last.ops == []


def test_a_use_is_stored_once_a_minute(state: GatewayState) -> None:
    made = create(state)
    credential_id = made.credential.credential_id
    state.run(note_use, credential_id)
    assert len(state.last.ops) == 1
    state.run(note_use, credential_id)
    assert state.last.ops == []
    state.now_s += 60
    state.run(note_use, credential_id)
    record = found(state, made)
    assert record is not None
    assert record.last_used_at_s == (state.now_s // 60) * 60
    state.run(note_use, "ffffffffffffffff")
    assert state.last.ops == []


def test_the_strictest_own_limit_of_a_subject_reaches_the_guards(state: GatewayState) -> None:
    create(state, "program:x", calls_per_minute=600)
    slow = create(state, "program:x", calls_per_minute=5)
    told = [state.last.are_limits_changed]
    create(state, "program:y")
    assert [*told, state.last.are_limits_changed] == [True, False]
    assert rates(state.draft()) == {"program:x": RatePolicy(burst_per_s=1, sustained_per_min=5)}
    revoke(state, slow.credential.credential_id)
    assert state.last.are_limits_changed
    assert rates(state.draft()) == {"program:x": RatePolicy(burst_per_s=60, sustained_per_min=600)}


def test_the_number_is_bounded_and_the_oldest_ended_ones_go_first(
    state: GatewayState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "MAX_ACTIVE", 2)
    monkeypatch.setattr(credentials, "MAX_KEPT", 3)
    names = count()
    made = [create(state, label=str(next(names))) for _ in range(2)]
    with pytest.raises(NoCapacity, match="2 active"):
        create(state)
    for each in made:
        revoke(state, each.credential.credential_id)
    create(state, label="2")
    create(state, label="3")
    labels = {each.label for each in state.run(decide_list, ListCredentials(), ADMIN).credentials}
    assert labels == {"1", "2", "3"}


def test_the_digest_is_that_of_the_secret_part(state: GatewayState) -> None:
    made = create(state)
    parts = parse_text(made.secret)
    record = found(state, made)
    assert parts is not None
    assert record is not None
    assert (
        record.secret_digest == secret_digest(SecretStr(made.secret.get_secret_value()[-64:])) == parts.digest
    )
