"""A new machine waits until somebody has compared the code; strangers cannot do more than wait."""

import pytest

from tests.unit.security.gateway_state import ADMIN, GatewayState
from zejzl_ray.auth.credential_text import new_credential_id, new_secret_hex
from zejzl_ray.contracts.access import NOBODY, Principal
from zejzl_ray.contracts.tokens import (
    CreateCredential,
    DecideEnrolment,
    Enrolment,
    ListCredentials,
    RequestEnrolment,
    RevokeCredential,
)
from zejzl_ray.errors import Conflict, Forbidden, NotFound, Overloaded
from zejzl_ray.security.credentials import (
    CredentialRecord,
    decide_create,
    decide_list,
    decide_revoke,
    find_by_text,
)
from zejzl_ray.security.enrolment import (
    MAX_WAITING,
    MAX_WAITING_OF_ADDRESS,
    WAITING_S,
    EnrolmentRecord,
    MachineCredential,
    decide_decision,
    decide_request,
    new_machine_credential,
)
from zejzl_ray.security.policy_file import default_policy


@pytest.fixture
def state() -> GatewayState:
    return GatewayState()


def ask(
    state: GatewayState, machine: str, own: MachineCredential, address: str = "", note: str = ""
) -> Enrolment:
    request = RequestEnrolment(machine=machine, secret_digest=own.secret_digest, note=note)
    return state.run(decide_request, request, NOBODY.model_copy(update={"address": address}))


def decide(
    state: GatewayState, machine: str, code: str, *, is_approved: bool = True, caller: Principal = ADMIN
) -> Enrolment:
    request = DecideEnrolment(machine=machine, code=code, is_approved=is_approved)
    return state.run(decide_decision, request, caller, default_policy())


def is_in(state: GatewayState, own: MachineCredential) -> bool:
    return find_by_text(state.records, own.text, state.now_s) is not None


def test_a_machine_is_in_after_somebody_has_compared_the_code(state: GatewayState) -> None:
    own = new_machine_credential()
    asked = ask(state, "pc2", own, note="the one under the desk")
    assert (asked.state, asked.code) == ("pending", own.code)
    assert asked.credential_id == own.text.get_secret_value()[3:19]
    assert not is_in(state, own)
    approved = decide(state, "pc2", own.code.upper().replace("-", ""))
    assert approved.state == "approved"
    record = find_by_text(state.records, own.text, state.now_s)
    assert record is not None
    assert (record.subject, record.expires_at_s, record.label) == (
        "machine:pc2",
        None,
        "the one under the desk",
    )
    assert ask(state, "pc2", own).state == "approved"
    state.now_s += 10 * WAITING_S
    assert is_in(state, own)
    assert [fact.outcome for fact in state.facts] == ["pending", "approved"]


def test_asking_again_returns_the_state_and_changes_nothing(state: GatewayState) -> None:
    own = new_machine_credential()
    first = ask(state, "pc2", own)
    assert ask(state, "pc2", own) == first
    assert state.last.ops == []
    assert state.last.facts == []


def test_a_waiting_machine_is_listed_and_cannot_be_revoked(state: GatewayState) -> None:
    own = new_machine_credential()
    asked = ask(state, "pc2", own)
    (listed,) = state.run(decide_list, ListCredentials(), ADMIN).credentials
    assert (listed.is_pending, listed.is_active, listed.subject) == (True, False, "machine:pc2")
    with pytest.raises(Conflict, match="waits for approval"):
        state.run(decide_revoke, RevokeCredential(credential_id=asked.credential_id), ADMIN)


def test_a_request_is_forgotten_after_an_hour(state: GatewayState) -> None:
    own = new_machine_credential()
    ask(state, "pc2", own)
    state.now_s += WAITING_S
    with pytest.raises(NotFound, match="No machine pc2 waits"):
        decide(state, "pc2", own.code)
    assert not is_in(state, own)
    assert ask(state, "pc2", own).state == "pending"


@pytest.mark.parametrize("code", ["", "0", "0000-0000-", "ffff-ffff-ffff"])
def test_another_code_lets_nobody_in(state: GatewayState, code: str) -> None:
    own = new_machine_credential()
    ask(state, "pc2", own)
    with pytest.raises(NotFound, match="Compare the code"):
        decide(state, "pc2", code)
    with pytest.raises(NotFound):
        decide(state, "pc3", own.code)
    assert not is_in(state, own)


def test_a_code_that_is_right_but_for_its_end_lets_nobody_in(state: GatewayState) -> None:
    own = new_machine_credential()
    ask(state, "pc2", own)
    decide(state, "pc2", own.code)
    for code in ("", own.code[:4], own.code + "0"):
        with pytest.raises(NotFound):
            decide(state, "pc2", code)
    assert decide(state, "pc2", own.code).state == "approved"
    assert state.last.ops == []


def test_a_name_that_waits_or_is_in_is_taken_and_the_words_are_the_same(state: GatewayState) -> None:
    own, other = new_machine_credential(), new_machine_credential()
    ask(state, "pc2", own)
    texts = set()
    with pytest.raises(Conflict) as waiting:
        ask(state, "pc2", other)
    texts.add(str(waiting.value))
    decide(state, "pc2", own.code)
    with pytest.raises(Conflict) as approved:
        ask(state, "pc2", other)
    texts.add(str(approved.value))
    with pytest.raises(Conflict) as borrowed:  # a digest that is kept under another name
        ask(state, "pc3", own)
    assert len(texts) == 1
    assert str(borrowed.value).replace("pc3", "pc2") in texts


def test_a_refused_machine_hears_so_and_another_one_may_ask(state: GatewayState) -> None:
    own, other = new_machine_credential(), new_machine_credential()
    ask(state, "pc2", own)
    assert decide(state, "pc2", own.code, is_approved=False).state == "refused"
    assert decide(state, "pc2", own.code, is_approved=False).state == "refused"
    assert ask(state, "pc2", own).state == "refused"
    with pytest.raises(Conflict, match="was refused"):
        decide(state, "pc2", own.code)
    assert not is_in(state, own)
    assert ask(state, "pc2", other).state == "pending"
    assert decide(state, "pc2", other.code).state == "approved"


def test_what_was_approved_is_not_refused_afterwards(state: GatewayState) -> None:
    own = new_machine_credential()
    ask(state, "pc2", own)
    decide(state, "pc2", own.code)
    with pytest.raises(Conflict, match="let in already"):
        decide(state, "pc2", own.code, is_approved=False)


def test_a_revoked_machine_does_not_come_back_with_the_same_credential(state: GatewayState) -> None:
    own, new = new_machine_credential(), new_machine_credential()
    credential_id = ask(state, "pc2", own).credential_id
    decide(state, "pc2", own.code)
    state.run(decide_revoke, RevokeCredential(credential_id=credential_id), ADMIN)
    assert ask(state, "pc2", own).state == "refused"
    assert ask(state, "pc2", new).state == "pending"
    assert decide(state, "pc2", new.code).state == "approved"
    assert (is_in(state, own), is_in(state, new)) == (False, True)


def test_a_machine_whose_credential_somebody_made_meanwhile_is_not_let_in(state: GatewayState) -> None:
    own = new_machine_credential()
    ask(state, "pc2", own)
    made = CreateCredential(subject="machine:pc2")
    state.run(
        decide_create, made, ADMIN, default_policy(), state.master, new_secret_hex(), new_credential_id()
    )
    with pytest.raises(Conflict, match="has a credential already"):
        decide(state, "pc2", own.code)


def test_a_request_whose_credential_is_gone_is_over(state: GatewayState) -> None:
    own = new_machine_credential()
    credential_id = ask(state, "pc2", own).credential_id
    state.records.delete(CredentialRecord.KIND, credential_id)
    with pytest.raises(Conflict, match="is over"):
        decide(state, "pc2", own.code)


def test_nobody_lets_a_machine_in_that_may_do_more_than_they(state: GatewayState) -> None:
    own = new_machine_credential()
    ask(state, "pc2", own)
    caller = Principal(subject="user:bo", grants=("security_gateway:machines:admin",))
    with pytest.raises(Forbidden, match="machine:pc2 would have"):
        decide(state, "pc2", own.code, caller=caller)


def test_a_flood_gets_overloaded_and_pushes_nobody_out(state: GatewayState) -> None:
    first = new_machine_credential()
    ask(state, "first", first)
    for number in range(MAX_WAITING - 1):
        ask(state, f"flood{number}", new_machine_credential())
    with pytest.raises(Overloaded, match="Too many machines") as caught:
        ask(state, "late", new_machine_credential())
    assert "60 min" in str(caught.value)
    assert ask(state, "first", first).state == "pending"
    assert decide(state, "first", first.code).state == "approved"
    assert ask(state, "late", new_machine_credential()).state == "pending"


def test_one_address_cannot_take_all_places(state: GatewayState) -> None:
    for number in range(MAX_WAITING_OF_ADDRESS):
        ask(state, f"flood{number}", new_machine_credential(), "203.0.113.9")
    with pytest.raises(Overloaded):
        ask(state, "more", new_machine_credential(), "203.0.113.9")
    assert ask(state, "pc2", new_machine_credential(), "192.0.2.7").state == "pending"


def test_requests_survive_a_restart_and_nothing_prints_the_secret(state: GatewayState) -> None:
    own = new_machine_credential()
    ask(state, "pc2", own)
    secret = own.text.get_secret_value()[-64:]
    assert secret not in f"{state.texts()}{own!r}{own}"
    state.restart(CredentialRecord, EnrolmentRecord)
    assert decide(state, "pc2", own.code).state == "approved"
