"""Secrets are read by their readers alone, encrypted for them, and every read is in the audit trail."""

import pickle

import pytest
from pydantic import SecretStr, ValidationError

from tests.unit.security.gateway_state import ADMIN, GatewayState
from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.secrets import (
    MAX_SECRET_BYTES,
    GetSecret,
    ListSecrets,
    RevokeSecret,
    RotateSecret,
    SecretInfo,
    SetSecret,
)
from zejzl_ray.errors import InvalidInput, NoCapacity, NotFound, PayloadTooLarge, StoreError
from zejzl_ray.security import secrets
from zejzl_ray.security.secrets import (
    SecretRecord,
    SecretWithheld,
    decide_get,
    decide_list,
    decide_revoke,
    decide_rotate,
    decide_set,
)

VALUE = "correct horse battery"
LEARNER = Principal(subject="agent:Learner", grants=("security_gateway:secrets:own",))
TUTOR = Principal(subject="agent:Tutor", grants=("security_gateway:secrets:own",))


@pytest.fixture
def state() -> GatewayState:
    return GatewayState()


def put(
    state: GatewayState,
    name: str = "db",
    *subjects: str,
    value: str = VALUE,
    rotate_every_s: float | None = None,
) -> SecretInfo:
    request = SetSecret(
        name=name,
        subjects=subjects or ("agent:Learner",),
        value=SecretStr(value),
        rotate_every_s=rotate_every_s,
    )
    return state.run(decide_set, request, ADMIN, state.master)


def read(state: GatewayState, name: str = "db", caller: Principal = LEARNER) -> tuple[str, int]:
    found = state.run(decide_get, GetSecret(name=name), caller, state.master, "req-7")
    assert VALUE not in f"{found!r}{found}{found.model_dump()}"
    return found.value.get_secret_value(), found.version


def names(state: GatewayState, subject: str | None = None) -> list[str]:
    return [each.name for each in state.run(decide_list, ListSecrets(subject=subject), ADMIN).secrets]


def test_a_reader_gets_the_value_and_the_audit_trail_says_so(state: GatewayState) -> None:
    info = put(state, "db", "agent:Learner", "agent:Tutor")
    assert (info.version, info.subjects, info.set_by) == (1, ("agent:Learner", "agent:Tutor"), "user:admin")
    assert read(state) == (VALUE, 1)
    assert read(state, caller=TUTOR) == (VALUE, 1)
    fact = state.facts[-1]
    assert (fact.kind, fact.subject, fact.target, fact.request_id) == ("secret", "agent:Tutor", "db", "req-7")
    assert VALUE not in state.texts()


@pytest.mark.parametrize("caller", [TUTOR, ADMIN, Principal(subject="user:agent:Learner")])
def test_nobody_else_reads_it_whatever_rights_they_have(state: GatewayState, caller: Principal) -> None:
    put(state)
    with pytest.raises(SecretWithheld) as withheld:
        read(state, caller=caller)
    with pytest.raises(NotFound) as absent:
        read(state, "absent", caller)
    assert str(withheld.value) == str(absent.value).replace("absent", "db")
    assert not isinstance(absent.value, SecretWithheld)
    fact = withheld.value.fact
    assert fact is not None
    assert (fact.kind, fact.subject, fact.target) == ("denied", caller.subject, "db")
    back = pickle.loads(pickle.dumps(withheld.value))
    assert (type(back), back.fact) == (SecretWithheld, fact)


def test_a_secret_survives_a_restart_and_is_not_in_what_is_stored(state: GatewayState) -> None:
    put(state)
    assert VALUE not in state.texts()
    record = state.get(SecretRecord, "db")
    assert record is not None
    assert VALUE not in f"{record!r}{record}{record.model_dump()}{record.model_dump_json()}"
    state.restart(SecretRecord)
    assert read(state) == (VALUE, 1)


@pytest.mark.parametrize("change", [{"subjects": ("agent:Learner", "agent:Tutor")}, {"name": "other"}])
def test_a_reader_added_in_the_store_reads_nothing(state: GatewayState, change: dict[str, object]) -> None:
    put(state)
    record = state.get(SecretRecord, "db")
    assert record is not None
    state.put("db", record.model_copy(update=change))
    with pytest.raises(StoreError, match="changed or moved"):
        read(state)


def test_setting_again_makes_a_version_for_the_new_readers(state: GatewayState) -> None:
    put(state)
    assert put(state, "db", "agent:Tutor", value="second").version == 2
    assert read(state, caller=TUTOR) == ("second", 2)
    with pytest.raises(NotFound):
        read(state)


def test_rotating_keeps_the_readers_and_the_value_before_is_gone(state: GatewayState) -> None:
    put(state, rotate_every_s=3600)
    state.now_s += 3600
    (info,) = state.run(decide_list, ListSecrets(), ADMIN).secrets
    assert info.is_due
    info = state.run(decide_rotate, RotateSecret(name="db", value=SecretStr("new")), ADMIN, state.master)
    assert (info.version, info.is_due, info.subjects) == (2, False, ("agent:Learner",))
    assert read(state) == ("new", 2)
    state.now_s += 3599
    (info,) = state.run(decide_list, ListSecrets(), ADMIN).secrets
    assert not info.is_due


def test_what_does_not_exist_is_neither_rotated_nor_revoked(state: GatewayState) -> None:
    with pytest.raises(NotFound, match="zejzl secrets list"):
        state.run(decide_rotate, RotateSecret(name="db", value=SecretStr("x")), ADMIN, state.master)
    with pytest.raises(NotFound):
        state.run(decide_revoke, RevokeSecret(name="db"), ADMIN)


def test_a_revoked_secret_is_gone_for_everybody_and_listed_for_a_while(state: GatewayState) -> None:
    put(state, rotate_every_s=1)
    info = state.run(decide_revoke, RevokeSecret(name="db"), ADMIN)
    record = state.get(SecretRecord, "db")
    assert record is not None
    assert (info.is_revoked, record.value) == (True, "")
    state.now_s += 10
    assert state.run(decide_revoke, RevokeSecret(name="db"), ADMIN) == info
    assert state.last.ops == []
    with pytest.raises(NotFound):
        read(state)
    with pytest.raises(NotFound):
        state.run(decide_rotate, RotateSecret(name="db", value=SecretStr("x")), ADMIN, state.master)
    (listed,) = state.run(decide_list, ListSecrets(), ADMIN).secrets
    assert (listed.is_revoked, listed.is_due) == (True, False)
    assert put(state).version == 2
    assert read(state) == (VALUE, 2)
    state.run(decide_revoke, RevokeSecret(name="db"), ADMIN)
    state.now_s += secrets.REVOKED_KEPT_S + 1
    assert names(state) == []


def test_lists_are_in_the_order_of_names_and_by_reader(state: GatewayState) -> None:
    put(state, "b")
    put(state, "a2", "agent:Tutor")
    put(state, "c_3", "agent:Tutor", "agent:Learner")
    assert names(state) == ["a2", "b", "c_3"]
    assert names(state, "agent:Tutor") == ["a2", "c_3"]
    assert names(state, "agent:Nobody") == []


def test_a_value_that_cannot_be_kept_is_refused_before_anything_changes(state: GatewayState) -> None:
    for empty in ("", "\ud800"):
        with pytest.raises(InvalidInput, match="at least one character"):
            put(state, value=empty)
    with pytest.raises(PayloadTooLarge, match="are allowed"):
        put(state, value="\u20ac" * (MAX_SECRET_BYTES // 2))
    put(state, value="x" * MAX_SECRET_BYTES)
    with pytest.raises(PayloadTooLarge):
        state.run(
            decide_rotate, RotateSecret(name="db", value=SecretStr("\u20ac" * 30_000)), ADMIN, state.master
        )


@pytest.mark.parametrize("name", ["", "../etc/passwd", "a/b", "1a", "a b", "x" * 129])
def test_a_name_that_is_a_path_is_no_name(name: str) -> None:
    with pytest.raises(ValidationError):
        GetSecret(name=name)


def test_number_and_size_are_bounded_and_revoked_ones_do_not_count(
    state: GatewayState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "MAX_SECRETS", 2)
    for name in ("a", "b"):
        put(state, name)
    put(state, "b")
    with pytest.raises(NoCapacity, match="2 secrets"):
        put(state, "c")
    for name in ("a", "b"):
        state.now_s += 1
        state.run(decide_revoke, RevokeSecret(name=name), ADMIN)
    state.now_s += 1
    put(state, "c")
    state.run(decide_revoke, RevokeSecret(name="c"), ADMIN)
    assert names(state) == ["b", "c"]  # the oldest revoked one is forgotten
    monkeypatch.setattr(secrets, "MAX_TOTAL_CHARACTERS", 300)
    put(state, "d")
    with pytest.raises(NoCapacity, match="together"):
        put(state, "e", value="x" * 300)
