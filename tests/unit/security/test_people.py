import pytest
from pydantic import SecretStr

from zejzl_ray.commands.records import Records
from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.people import CreateUser, DeleteUser, GetUser, ListUsers, SetPassword, UpdateUser
from zejzl_ray.contracts.policy import Policy, RoleSpec, TrustLevel, TrustPolicy
from zejzl_ray.errors import Conflict, Forbidden, InvalidInput, LoginRefused, NotFound
from zejzl_ray.security.draft import SecurityDraft
from zejzl_ray.security.lockout import Lockout, locked_accounts
from zejzl_ray.security.people import (
    UserRecord,
    decide_create,
    decide_delete,
    decide_set_password,
    decide_update,
    get,
    list_page,
)
from zejzl_ray.security.permissions import grants_of

NOW_S = 5000.0
HASH = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA"
SECRET = SecretStr("gravel-otter-lamp-77")
POLICY = Policy(
    roles={
        "viewer": RoleSpec(grants=("*:*:read",)),
        "operator": RoleSpec(grants=("core_orchestrator:*:*",), includes=("viewer",)),
        "registrar": RoleSpec(grants=("security_gateway:users:*",), includes=("viewer",)),
        "admin": RoleSpec(grants=("*:*:*",)),
    },
    kinds={"user": ("viewer",)},
    subjects={"user:chosen": ("operator",)},
    trust=TrustPolicy(levels=(TrustLevel(level="normal", below=1.01),)),
)
ADMIN = Principal(subject="user:admin", grants=("*:*:*",), address="192.0.2.1")
REGISTRAR = Principal(subject="user:reg", grants=("security_gateway:users:*", "*:*:read"))


def fresh(**people: tuple[str, ...]) -> SecurityDraft:
    draft = SecurityDraft(Records(), NOW_S)
    for user, roles in people.items():
        draft.put(
            user, UserRecord(user=user, roles=roles, created_at_s=1.0, password_hash=HASH, password_version=1)
        )
    draft.ops.clear()
    return draft


def creation(user: str = "ada", *roles: str) -> CreateUser:
    return CreateUser(user=user, password=SECRET, roles=roles or ("viewer",), request_id="r1")


def update(user: str, **what: object) -> UpdateUser:
    return UpdateUser.model_validate({"user": user, "request_id": "r2", **what})


def ended(draft: SecurityDraft) -> list[str]:
    assert all(each.kind == "subject" and each.before_s == NOW_S for each in draft.revocations)
    assert all(each.until_s >= NOW_S + 3661 for each in draft.revocations)
    return [each.value for each in draft.revocations]


def untouched(draft: SecurityDraft) -> bool:
    return not (draft.ops or draft.revocations or draft.facts)


def test_somebody_who_may_registers_a_person_with_a_hash_and_no_password() -> None:
    draft = fresh()
    user = decide_create(draft, creation("ada", "viewer", "operator", "viewer"), ADMIN, HASH, POLICY)
    assert (user.user, user.roles, user.created_by) == ("ada", ("viewer", "operator"), "user:admin")
    assert user.password_changed_at_s == user.created_at_s == NOW_S
    record = draft.get(UserRecord, "ada")
    assert record is not None
    assert record.password_hash == HASH
    assert SECRET.get_secret_value() not in str(draft.ops)
    (fact,) = draft.facts
    assert (fact.kind, fact.subject, fact.target, fact.reason) == (
        "people",
        "user:admin",
        "user:ada",
        "created",
    )
    assert (fact.address, fact.request_id, fact.details) == ("192.0.2.1", "r1", {"roles": "viewer operator"})


def test_no_picture_of_a_person_shows_the_hash() -> None:
    draft = fresh()
    user = decide_create(draft, creation(), ADMIN, HASH, POLICY)
    assert HASH not in user.model_dump_json() + repr(user) + repr(draft.get(UserRecord, "ada")) + repr(
        draft.facts
    )


@pytest.mark.parametrize("name", ["ada", "Ada", "ADA"])
def test_two_people_are_not_told_apart_by_capitals_alone(name: str) -> None:
    draft = fresh(ada=("viewer",))
    with pytest.raises(Conflict):
        decide_create(draft, creation(name), ADMIN, HASH, POLICY)
    assert untouched(draft)


def test_a_role_has_to_be_in_the_policy() -> None:
    draft = fresh(ada=("viewer",))
    with pytest.raises(InvalidInput, match="king"):
        decide_create(draft, creation("bob", "king"), ADMIN, HASH, POLICY)
    with pytest.raises(InvalidInput, match="king"):
        decide_update(draft, update("ada", roles=["king"]), ADMIN, POLICY)
    assert untouched(draft)


@pytest.mark.parametrize(
    ("name", "roles"), [("bob", ("admin",)), ("bob", ("operator",)), ("chosen", ("viewer",))]
)
def test_nobody_registers_a_person_who_may_do_more_than_oneself(name: str, roles: tuple[str, ...]) -> None:
    draft = fresh()
    with pytest.raises(Forbidden):
        decide_create(draft, creation(name, *roles), REGISTRAR, HASH, POLICY)
    assert untouched(draft)
    decide_create(draft, creation("bob", "registrar"), REGISTRAR, HASH, POLICY)


def test_nobody_gives_a_role_that_is_above_oneself() -> None:
    draft = fresh(bob=("viewer",), boss=("operator",), admin=("admin",))
    with pytest.raises(Forbidden):
        decide_update(draft, update("bob", roles=["viewer", "admin"]), REGISTRAR, POLICY)
    assert untouched(draft)
    # What a person has already is not handed out anew.
    decide_update(draft, update("boss", roles=["operator", "registrar"]), REGISTRAR, POLICY)


def test_nobody_opens_an_account_that_may_do_more_than_oneself() -> None:
    draft = fresh(bob=("operator",))
    decide_update(draft, update("bob", is_active=False), ADMIN, POLICY)
    with pytest.raises(Forbidden):
        decide_update(draft, update("bob", is_active=True), REGISTRAR, POLICY)
    assert decide_update(draft, update("bob", is_active=True), ADMIN, POLICY).is_active


@pytest.mark.parametrize(
    ("what", "is_ended"),
    [
        ({"roles": ["viewer"]}, True),
        ({"is_active": False}, True),
        ({"roles": ["operator", "registrar"]}, False),
        ({"roles": ["admin"]}, False),
        ({"is_active": True}, False),
    ],
)
def test_what_was_issued_ends_where_rights_shrink_and_only_there(
    what: dict[str, object], is_ended: bool
) -> None:
    draft = fresh(bob=("operator",))
    decide_update(draft, update("bob", **what), ADMIN, POLICY)
    assert ended(draft) == (["user:bob"] if is_ended else [])


def test_an_update_that_changes_nothing_stores_and_tells_nothing() -> None:
    draft = fresh(bob=("operator",))
    user = decide_update(draft, update("bob", roles=["operator"], is_active=True), ADMIN, POLICY, sessions=3)
    assert user.sessions == 3
    assert untouched(draft)


def test_lifting_a_lock_out_is_told_and_takes_nothing_else_away() -> None:
    draft, lockout = fresh(bob=("operator",)), Lockout()
    for _ in range(4):
        for lock in lockout.fail("bob", "192.0.2.9", NOW_S).locks:
            draft.put(lock.key, lock)
    assert get(draft, GetUser(user="bob")).is_locked
    user = decide_update(draft, update("bob", is_unlocked=True), ADMIN, POLICY)
    assert not user.is_locked
    assert not locked_accounts(draft)
    assert [fact.reason for fact in draft.facts] == ["unlocked"]
    assert ended(draft) == []


@pytest.mark.parametrize("what", [{"roles": ["viewer"]}, {"is_active": False}])
def test_the_last_active_administrator_is_neither_closed_nor_demoted(what: dict[str, object]) -> None:
    draft = fresh(root=("admin",), bob=("viewer",), old=("admin",))
    decide_update(draft, update("old", is_active=False), ADMIN, POLICY)
    draft.ops.clear()
    draft.facts.clear()
    draft.revocations.clear()
    with pytest.raises(Conflict, match="root"):
        decide_update(draft, update("root", **what), ADMIN, POLICY)
    with pytest.raises(Conflict, match="root"):
        decide_delete(draft, DeleteUser(user="root"), ADMIN)
    assert untouched(draft)
    decide_update(draft, update("bob", roles=["admin"]), ADMIN, POLICY)
    decide_update(draft, update("root", **what), ADMIN, POLICY)
    assert decide_delete(draft, DeleteUser(user="old"), ADMIN).was_there


def test_a_deleted_person_is_gone_with_tokens_and_locks_and_deleting_again_is_no_error() -> None:
    draft, lockout = fresh(bob=("viewer",), root=("admin",)), Lockout()
    for _ in range(4):
        for lock in lockout.fail("bob", "192.0.2.9", NOW_S).locks:
            draft.put(lock.key, lock)
    assert decide_delete(draft, DeleteUser(user="bob"), ADMIN).was_there
    assert ended(draft) == ["user:bob"]
    assert not locked_accounts(draft)
    assert draft.facts[-1].reason == "deleted"
    with pytest.raises(NotFound):
        get(draft, GetUser(user="bob"))
    told = len(draft.facts)
    assert not decide_delete(draft, DeleteUser(user="bob"), ADMIN).was_there
    assert len(draft.facts) == told


def change(user: str, old: str | None = None) -> SetPassword:
    return SetPassword(
        user=user, old_password=None if old is None else SecretStr(old), new_password=SECRET, request_id="r3"
    )


ADA = Principal(subject="user:ada", grants=("security_gateway:self:report",))


def test_ones_own_new_password_takes_the_right_old_one_and_ends_what_was_issued() -> None:
    draft = fresh(ada=("viewer",))
    user = decide_set_password(
        draft, change("ada", "old one"), ADA, "new hash", POLICY, is_old_right=True, password_version=1
    )
    assert user.password_changed_at_s == NOW_S
    record = draft.get(UserRecord, "ada")
    assert record is not None
    assert (record.password_hash, record.password_version) == ("new hash", 2)
    assert ended(draft) == ["user:ada"]
    assert draft.facts[0].reason == "password_changed"


@pytest.mark.parametrize(
    ("is_old_right", "version"), [(False, 1), (None, None), (True, 0)], ids=["wrong", "not given", "outrun"]
)
def test_ones_own_new_password_is_refused_otherwise(is_old_right: bool | None, version: int | None) -> None:
    draft = fresh(ada=("viewer",))
    with pytest.raises(LoginRefused):
        decide_set_password(
            draft, change("ada", "old one"), ADA, "new", POLICY,
            is_old_right=is_old_right, password_version=version,
        )  # fmt: skip
    assert untouched(draft)


def test_the_new_password_is_another_one() -> None:
    draft = fresh(ada=("viewer",))
    with pytest.raises(InvalidInput, match="old one"):
        decide_set_password(
            draft, change("ada", SECRET.get_secret_value()), ADA, "new", POLICY, is_old_right=True
        )
    assert untouched(draft)


def test_who_has_no_password_yet_sets_the_first_one_without() -> None:
    draft = fresh()
    draft.put("ada", UserRecord(user="ada", roles=("viewer",), created_at_s=1.0))
    with pytest.raises(Forbidden, match="more than you"):  # a token of hers with narrower scopes
        decide_set_password(draft, change("ada"), ADA, HASH, POLICY, is_old_right=None)
    assert not draft.facts
    whole = ADA.model_copy(update={"grants": grants_of("user:ada", ("viewer",), POLICY)})
    decide_set_password(draft, change("ada"), whole, HASH, POLICY, is_old_right=None)
    record = draft.get(UserRecord, "ada")
    assert record is not None
    assert record.password_hash == HASH


def test_an_operator_sets_anothers_password_without_the_old_one_but_not_that_of_somebody_above() -> None:
    draft = fresh(bob=("viewer",), root=("admin",))
    decide_set_password(draft, change("bob"), REGISTRAR, "new", POLICY, is_old_right=None)
    told = len(draft.facts)
    with pytest.raises(Forbidden):
        decide_set_password(draft, change("root"), REGISTRAR, "new", POLICY, is_old_right=None)
    assert len(draft.facts) == told
    record = draft.get(UserRecord, "root")
    assert record is not None
    assert record.password_hash == HASH


def test_a_person_who_is_not_there_is_not_found() -> None:
    draft = fresh()
    with pytest.raises(NotFound, match="ada"):
        get(draft, GetUser(user="ada"))
    with pytest.raises(NotFound, match="ada"):
        decide_update(draft, update("ada", is_active=True), ADMIN, POLICY)
    with pytest.raises(NotFound, match="ada"):
        decide_set_password(draft, change("ada"), ADMIN, "new", POLICY, is_old_right=None)


def test_people_are_listed_by_name_page_by_page() -> None:
    draft = fresh(bob=("viewer",), ada=("viewer",), eve=("viewer",), dan=("viewer",))
    page = list_page(draft, ListUsers(limit=2), sessions_of=len)
    assert [(user.user, user.sessions) for user in page.users] == [("ada", 3), ("bob", 3)]
    rest = list_page(draft, ListUsers(limit=2, cursor=page.next_cursor))
    assert [user.user for user in rest.users] == ["dan", "eve"]
    assert rest.next_cursor == ""
