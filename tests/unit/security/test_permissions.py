"""From roles to grants, rates, and who loses rights."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zejzl_ray.auth.scopes import allows, is_within
from zejzl_ray.contracts.policy import Policy
from zejzl_ray.contracts.services import NODE_AGENT_OPERATIONS, OPERATIONS
from zejzl_ray.security.permissions import (
    HeldRole,
    grants_of,
    limits_of,
    minimal,
    rate_of,
    roles_of,
    shrunk_subjects,
)
from zejzl_ray.security.policy_file import default_policy

POLICY = default_policy()
SCOPES = sorted(
    {s for each in (*OPERATIONS, *NODE_AGENT_OPERATIONS) for s in (each.scope, each.own_scope) if s}
)


def changed(**parts: Any) -> Policy:
    data = POLICY.model_dump(mode="json")
    for key, value in parts.items():
        data[key] = {**data[key], **value} if isinstance(value, dict) else value
    return Policy.model_validate(data)


def may(subject: str, *roles: str, policy: Policy = POLICY) -> set[str]:
    grants = grants_of(subject, roles, policy)
    return {scope for scope in SCOPES if allows(grants, scope)}


# --- the shipped roles ----------------------------------------------------------------------------------------------


def test_a_viewer_reads_the_fleet_and_neither_people_nor_audit_nor_secrets() -> None:
    viewer = may("user:ada", "viewer")
    assert {"core_orchestrator:agents:read", "error_bus:health:read", "security_gateway:self:read"} <= viewer
    assert {scope.rpartition(":")[2] for scope in viewer} == {"read", "report", "own"}
    assert not [
        scope for scope in viewer if ":audit:" in scope or ":users:" in scope or scope.endswith(":admin")
    ]


def test_an_operator_runs_the_fleet_and_administers_nobody() -> None:
    operator = may("user:ada", "operator")
    assert may("user:ada", "viewer") < operator
    assert {"core_orchestrator:agents:write", "core_orchestrator:fleet:write"} <= operator
    assert {scope for scope in operator if scope.endswith(":admin")} == {"security_gateway:trust:admin"}


def test_an_auditor_changes_nothing() -> None:
    auditor = may("user:ada", "auditor")
    assert {f"{service}:audit:read" for service in ("error_bus", "security_gateway")} <= auditor
    assert not [scope for scope in auditor if scope.rpartition(":")[2] in ("write", "admin")]


def test_an_administrator_may_do_everything() -> None:
    assert grants_of("user:ada", ("viewer", "admin"), POLICY) == ("*:*:*",)
    assert may("user:ada", "admin") == set(SCOPES)


def test_a_person_without_roles_may_look_after_itself_only() -> None:
    assert grants_of("user:ada", (), POLICY) == (
        "security_gateway:secrets:own",
        "security_gateway:self:read",
        "security_gateway:self:report",
    )


def test_an_agent_changes_its_own_entry_and_nobody_elses() -> None:
    agent = may("agent:Translator")
    assert "core_orchestrator:agents:own" in agent
    assert not agent & {"core_orchestrator:agents:write", "core_orchestrator:agents:report"}
    assert not agent & {"security_gateway:trust:report", "security_gateway:trust:read"}


def test_a_machine_reports_itself_and_does_not_judge() -> None:
    machine = may("machine:pc2")
    assert {"core_orchestrator:machines:own", "security_gateway:feed:read"} <= machine
    assert not machine & {"core_orchestrator:machines:report", "security_gateway:trust:report"}


def test_services_report_what_they_see_and_administer_nothing() -> None:
    service = may("service:error_bus")
    reports = {f"security_gateway:{name}:report" for name in ("audit", "threats", "trust")}
    assert reports | {"security_gateway:feed:read", "core_orchestrator:agents:own"} <= service
    assert not [scope for scope in service if scope.rpartition(":")[2] in ("write", "admin")]


def test_only_the_door_says_from_where_a_call_came() -> None:
    scope = "zejzl:address:report"
    assert allows(grants_of("service:ingress", (), POLICY), scope)
    others = ("service:error_bus", "machine:pc2", "agent:A", "user:ada", "program:x")
    assert not any(allows(grants_of(other, ("operator",), POLICY), scope) for other in others)


def test_the_composition_root_may_do_everything() -> None:
    assert grants_of("service:root", (), POLICY) == ("*:*:*",)


@pytest.mark.parametrize("role", ["guest", "user", "super_admin", "system", "standard", "superadmin", ""])
def test_names_of_old_roles_give_nothing(role: str) -> None:
    assert grants_of("user:ada", (role,), POLICY) == grants_of("user:ada", (), POLICY)


# --- the model ------------------------------------------------------------------------------------------------------


def test_a_role_is_told_once_with_its_first_source() -> None:
    policy = changed(subjects={"agent:X": ["observer", "agent"]})
    assert roles_of("agent:X", ("viewer", "ghost"), policy) == (
        HeldRole("agent", "kind agent"),
        HeldRole("observer", "subject agent:X"),
        HeldRole("viewer", "its own"),
        HeldRole("ghost", "its own", is_defined=False),
        HeldRole("member", "role agent"),
    )


def test_a_circle_of_roles_ends() -> None:
    policy = changed(
        roles={
            "a": {"grants": ["x:y:a"], "includes": ["b"]},
            "b": {"grants": ["x:y:b"], "includes": ["a"]},
        },
        kinds={"user": []},
    )
    assert grants_of("user:ada", ("a",), policy) == ("x:y:a", "x:y:b")


def test_grants_of_a_credential_are_added() -> None:
    assert "x:y:z" in grants_of("program:p", (), POLICY, ("x:y:z",))
    assert "x:y:z" not in grants_of("program:p", (), POLICY)


def test_a_kind_that_the_policy_leaves_out_has_nothing() -> None:
    data = POLICY.model_dump(mode="json")
    del data["kinds"]["agent"]
    assert grants_of("agent:A", (), Policy.model_validate(data)) == ()


PART = st.sampled_from(["*", "a", "b"])
GRANTS = st.lists(st.tuples(PART, PART, PART).map(":".join), max_size=8)


@given(GRANTS)
def test_leaving_out_what_lies_within_another_grant_changes_no_right(grants: list[str]) -> None:
    kept = minimal(grants)
    assert kept == tuple(sorted(set(kept)))
    assert set(kept) <= set(grants)
    assert all(is_within(grant, kept) for grant in grants)
    assert not any(is_within(one, [two for two in kept if two != one]) for one in kept)


def test_answers_follow_the_policy_that_is_asked() -> None:
    less = changed(kinds={"agent": ["member"]})
    for _ in range(3):
        assert "core_orchestrator:agents:own" in grants_of("agent:A", (), POLICY)
        assert "core_orchestrator:agents:own" not in grants_of("agent:A", (), less)
        assert "core_orchestrator:agents:own" in grants_of("agent:A", (), changed())


def test_the_memory_of_answers_is_bounded() -> None:
    from zejzl_ray.security import permissions

    for number in range(permissions._MAX_ANSWERS + 10):
        grants_of("user:ada", (f"r{number}",), POLICY)
    assert all(len(answers.by_key) <= permissions._MAX_ANSWERS for answers in permissions._recent)


# --- rates ----------------------------------------------------------------------------------------------------------


def test_the_highest_rate_of_the_roles_counts() -> None:
    policy = changed(
        roles={
            "quick": {"grants": [], "rate": {"burst_per_s": 900, "sustained_per_min": 1000}},
            "steady": {
                "grants": [],
                "rate": {"burst_per_s": 10, "sustained_per_min": 9000},
                "includes": ["quick"],
            },
        },
        subjects={"agent:X": ["steady"]},
    )
    rate = rate_of("agent:X", policy)
    assert rate is not None
    assert (rate.burst_per_s, rate.sustained_per_min) == (900, 9000)
    assert rate_of("agent:Y", policy) is None


def test_guards_get_the_rates_of_kinds_and_of_single_subjects() -> None:
    limits = limits_of(POLICY)
    assert set(limits.role_rates) == {"machine", "service", "service:root", "service:ingress"}
    assert limits.rate == POLICY.rate
    assert limits.address_rate == POLICY.address_rate
    assert limits.addresses == POLICY.addresses


# --- what a change takes away ---------------------------------------------------------------------------------------


def test_only_those_who_lose_something_are_named() -> None:
    new = changed(
        roles={"operator": {"grants": ["core_orchestrator:agents:write"], "includes": ["viewer"]}},
        subjects={"service:ingress": [], "agent:New": ["observer"]},
    )
    known = [("user:op", ("operator",)), ("user:vi", ("viewer",)), ("user:ad", ("admin",)), ("agent:New", ())]
    assert shrunk_subjects(POLICY, new, known) == ("service:ingress", "user:op")


def test_what_another_credential_still_gives_does_not_count() -> None:
    new = changed(roles={"auditor": {"grants": []}})
    known = [("program:p", ("auditor",)), ("program:p", ("admin",))]
    assert shrunk_subjects(POLICY, new, known) == ("program:p",)


def test_a_wider_grant_in_place_of_a_narrow_one_takes_nothing() -> None:
    wider = ["core_orchestrator:*:*", "mail:*:write"]
    new = changed(roles={"agent": {"grants": wider, "includes": ["member"]}})
    assert shrunk_subjects(POLICY, new, [("agent:A", ())]) == ()
    assert shrunk_subjects(new, POLICY, [("agent:A", ())]) == ("agent:A",)


def test_a_role_that_is_gone_takes_its_rights_along() -> None:
    data = POLICY.model_dump(mode="json")
    del data["roles"]["auditor"]
    assert shrunk_subjects(POLICY, Policy.model_validate(data), [("user:au", ("auditor",))]) == ("user:au",)


def test_the_same_policy_takes_nothing() -> None:
    assert shrunk_subjects(POLICY, changed(), [("user:ad", ("admin",)), ("agent:A", ())]) == ()
