"""What a policy may not say although every value in it is right."""

from typing import Any

import pytest

from zejzl_ray.contracts.policy import Policy
from zejzl_ray.security.policy_check import check_policy
from zejzl_ray.security.policy_file import default_policy


def changed(**parts: Any) -> Policy:
    """The shipped policy with some keys replaced; a mapping in ``roles``, ``kinds``, ``trust`` is laid over."""
    data = default_policy().model_dump(mode="json")
    for key, value in parts.items():
        data[key] = {**data[key], **value} if isinstance(value, dict) else value
    return Policy.model_validate(data)


def codes(policy: Policy) -> list[str]:
    return [f"{each.code}{'' if each.is_error else '?'}" for each in check_policy(policy)]


def level(name: str, below: float, **rest: Any) -> dict[str, Any]:
    return {"level": name, "below": below, **rest}


def test_unknown_roles_are_found_wherever_they_are_named() -> None:
    policy = changed(
        roles={"mine": {"grants": [], "includes": ["veiwer"]}},
        kinds={"user": ["zzz"]},
        subjects={"agent:X": ["admn"]},
    )
    found = [(each.path, each.remedy) for each in check_policy(policy) if each.code == "unknown-role"]
    assert found[0] == (("roles", "mine", "includes", 0), "Did you mean viewer?")
    assert found[1][1].startswith("There are admin, agent")
    assert found[2] == (("subjects", "agent:X", 0), "Did you mean admin?")


def test_a_circle_of_roles_is_told_once_with_its_way() -> None:
    policy = changed(
        roles={
            "a": {"grants": [], "includes": ["b"]},
            "b": {"grants": [], "includes": ["viewer", "c", "nobody-knows-it"]},
            "c": {"grants": [], "includes": ["a"]},
            "leads-in": {"grants": [], "includes": ["a"]},
        }
    )
    (circle,) = [each for each in check_policy(policy) if each.code == "role-circle"]
    assert "a -> b -> c -> a" in circle.message


@pytest.mark.parametrize("grants", [["core_orchestrator:*:*"], ["*:*:read"]])
def test_the_administrator_must_be_able_to_do_everything(grants: list[str]) -> None:
    assert "no-administrator" in codes(changed(roles={"admin": {"grants": grants}}))


def test_a_policy_without_administrators_is_refused() -> None:
    data = default_policy().model_dump(mode="json")
    del data["roles"]["admin"]
    data["subjects"] = {"service:ingress": ["ingress"]}
    assert codes(Policy.model_validate(data)) == ["no-administrator", "system-needs"]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"kinds": {"machine": ["member"]}}, "every machine needs security_gateway:feed:read"),
        ({"kinds": {"service": []}}, "every service needs security_gateway:feed:read"),
        ({"subjects": {"service:root": []}}, "service:root needs security_gateway:bootstrap:admin"),
        ({"subjects": {"service:ingress": []}}, "service:ingress needs zejzl:address:report"),
    ],
)
def test_what_the_system_itself_needs_cannot_be_taken_away(parts: dict[str, Any], message: str) -> None:
    found = [each for each in check_policy(changed(**parts)) if each.code == "system-needs"]
    assert message in found[0].message
    assert found[0].is_error


def test_a_role_must_fit_into_a_token() -> None:
    grants = [f"core_orchestrator:{'r' * 40}{number}:read" for number in range(100)]
    policy = changed(roles={"big": {"grants": grants}})
    assert "role-too-large" in codes(policy)


def test_a_grant_that_allows_nothing_is_a_typing_error() -> None:
    policy = changed(roles={"mine": {"grants": ["core_orchestrator:agent:read", "xx:yy:zz", "*:*:own"]}})
    found = [each for each in check_policy(policy) if each.code == "grant-for-nothing"]
    assert [each.path[-1] for each in found] == [0, 1]
    assert found[0].remedy == "Did you mean core_orchestrator:agents:read?"
    assert "operations_list" in found[1].remedy
    assert not any(each.is_error for each in found)


def test_a_grant_for_mail_is_for_writing_to_any_mail_scope() -> None:
    policy = changed(roles={"mine": {"grants": ["mail:vault:write", "mail:*:write", "mail:vault:read"]}})
    assert [each.path[-1] for each in check_policy(policy) if each.code == "grant-for-nothing"] == [2]


def test_wide_grants_of_agents_and_programs_are_pointed_out() -> None:
    policy = changed(
        kinds={"program": ["viewer"]}, subjects={"agent:X": ["operator"], "user:ada": ["operator"]}
    )
    found = [each for each in check_policy(policy) if each.code == "wide-grant"]
    assert [each.path for each in found] == [("kinds", "program"), ("subjects", "agent:X")]
    assert "every program may do *:health:read" in found[0].message


def test_a_burst_above_a_whole_minute_makes_no_sense() -> None:
    policy = changed(
        rate={"burst_per_s": 100, "sustained_per_min": 60},
        roles={"slow": {"grants": [], "rate": {"burst_per_s": 9, "sustained_per_min": 8}}},
    )
    assert codes(policy) == ["rate-order?", "rate-order?"]


def test_addresses_must_be_addresses() -> None:
    policy = changed(addresses={"allow": ["1.2.3.4.5", "10.0.0.0/40", "::1"], "deny": ["fe80::/200"]})
    assert codes(policy) == ["bad-address", "bad-address", "bad-address", "locked-out?"]


def test_an_allow_list_with_this_machine_and_host_bits_is_well() -> None:
    assert codes(changed(addresses={"allow": ["127.0.0.1/8", "192.168.1.7/24", "fd00::/8"]})) == []


# --- trust ----------------------------------------------------------------------------------------------------------


def test_weights_make_one_together() -> None:
    assert codes(changed(trust={"success_weight": 0.7, "speed_weight": 0.2})) == ["trust-weights"]


@pytest.mark.parametrize("levels", [[], [level("normal", 0.9)], [level("normal", 1.0)]])
def test_every_score_has_a_level(levels: list[Any]) -> None:
    assert codes(changed(trust={"levels": levels})) == ["trust-top"]


@pytest.mark.parametrize(
    "levels",
    [
        [level("limited", 0.4), level("restricted", 0.45), level("normal", 1.01)],
        [level("limited", 0.4), level("limited", 0.45), level("normal", 1.01)],
        [level("restricted", 0.4), level("limited", 0.4), level("normal", 1.01)],
        [level("restricted", 0.4), level("limited", 0.3), level("normal", 1.01)],
    ],
)
def test_levels_ascend(levels: list[Any]) -> None:
    assert codes(changed(trust={"levels": levels})) == ["trust-order"]


@pytest.mark.parametrize(
    "levels",
    [
        [level("limited", 0.6), level("normal", 1.01)],
        [level("normal", 1.01, rate_ratio=0.5)],
        [level("normal", 1.01, can_write=False)],
        [level("trusted", 1.01)],
    ],
)
def test_a_subject_that_nobody_has_seen_is_normal(levels: list[Any]) -> None:
    assert "trust-prior" in codes(changed(trust={"levels": levels}))


def test_a_level_that_nobody_can_leave_is_an_error() -> None:
    levels = [level("normal", 0.98), level("trusted", 1.01)]
    assert codes(changed(trust={"levels": levels})) == ["trust-no-way-back"]


def test_a_level_that_waiting_does_not_end_is_pointed_out() -> None:
    levels = [level("limited", 0.48), level("normal", 1.01)]
    assert codes(changed(trust={"levels": levels})) == ["trust-waiting?"]


def test_less_trust_should_not_give_more() -> None:
    levels = [
        level("restricted", 0.3, rate_ratio=2),
        level("limited", 0.4, can_write=False),
        level("normal", 1.01),
    ]
    assert codes(changed(trust={"levels": levels})) == ["trust-steps?"]


def test_without_an_allow_list_everybody_may_come_in() -> None:
    assert codes(changed(addresses={"allow": [], "deny": ["10.0.0.0/8"]})) == []
