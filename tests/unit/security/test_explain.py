"""May X do Y, and why."""

import pytest

from zejzl_ray.contracts.access import GOOD_STANDING, Standing
from zejzl_ray.contracts.policy import AccessExplanation, ExplainAccess
from zejzl_ray.contracts.services import OPERATIONS
from zejzl_ray.errors import InvalidInput
from zejzl_ray.security.explain import explain
from zejzl_ray.security.policy_file import default_policy

RESTRICTED = Standing(level="restricted", can_write=False, reason="Its score is 0.20.")


def ask(
    subject: str,
    operation: str,
    *roles: str,
    target: str = "",
    standing: Standing = GOOD_STANDING,
    scopes: tuple[str, ...] = (),
) -> AccessExplanation:
    request = ExplainAccess(subject=subject, operation=operation, target=target)
    return explain(request, default_policy(), roles, standing, OPERATIONS, extra_scopes=scopes)


def texts(answer: AccessExplanation) -> str:
    return "\n".join(f"{'+' if each.is_passed else '-'} {each.text}" for each in answer.reasons)


def test_a_right_is_traced_to_the_role_that_gives_it() -> None:
    answer = ask("user:ada", "core_orchestrator.register_agent", "operator")
    assert answer.is_allowed
    assert answer.scope == "core_orchestrator:agents:write"
    assert texts(answer) == (
        "+ user:ada is known.\n"
        "+ It has the role member (kind user).\n"
        "+ It has the role operator (its own).\n"
        "+ It has the role viewer (role operator).\n"
        "+ The role operator grants core_orchestrator:*:write, which allows core_orchestrator:agents:write.\n"
        "+ Its trust is normal."
    )


def test_a_missing_right_names_the_nearest_grant_and_the_roles_that_have_it() -> None:
    answer = ask("user:ada", "core_orchestrator.update_agent", "viewer", target="A")
    assert not answer.is_allowed
    assert (
        "- No grant allows core_orchestrator:agents:write. The nearest is core_orchestrator:agents:read of "
        "the role viewer: its action is read, not write. It would be enough to have one of the roles admin, operator."
    ) in texts(answer)
    assert "- To do it to what bears its own name it would need core_orchestrator:agents:own" in texts(answer)


def test_one_may_do_it_to_what_bears_ones_own_name() -> None:
    answer = ask("agent:Ada", "core_orchestrator.heartbeat", target="Ada")
    assert answer.is_allowed
    assert "+ It has core_orchestrator:agents:own, and name is its own name, Ada." in texts(answer)


@pytest.mark.parametrize(
    ("target", "words"), [("Bob", "it is Bob"), ("ada", "it is ada"), ("", "no target was given")]
)
def test_one_may_not_do_it_to_others(target: str, words: str) -> None:
    answer = ask("agent:Ada", "core_orchestrator.register_agent", target=target)
    assert not answer.is_allowed
    assert words in texts(answer)


def test_little_trust_leaves_reading() -> None:
    refused = ask("agent:Ada", "core_orchestrator.register_agent", target="Ada", standing=RESTRICTED)
    assert not refused.is_allowed
    assert texts(refused).endswith(
        "- Its trust is restricted, so it may only read and report. Its score is 0.20."
    )
    assert ask("agent:Ada", "core_orchestrator.get_agent", standing=RESTRICTED).is_allowed
    assert ask("agent:Ada", "core_orchestrator.heartbeat", target="Ada", standing=RESTRICTED).is_allowed
    assert ask("agent:Ada", "core_orchestrator:agents:read", standing=RESTRICTED).is_allowed


def test_trust_is_no_substitute_for_a_right() -> None:
    trusted = Standing(level="trusted", score=1.0)
    assert not ask("agent:CoreOrchestrator", "core_orchestrator.accept_losses", standing=trusted).is_allowed


def test_a_public_operation_is_for_everybody() -> None:
    request = ExplainAccess(subject="user:nobody", operation="security_gateway.issue_token")
    answer = explain(request, default_policy(), None, RESTRICTED, OPERATIONS)
    assert answer.is_allowed
    assert texts(answer) == "+ Anybody may call it, without a token."


def test_who_is_unknown_may_do_nothing() -> None:
    request = ExplainAccess(subject="user:nobody", operation="core_orchestrator.list_agents")
    answer = explain(request, default_policy(), None, GOOD_STANDING, OPERATIONS)
    assert not answer.is_allowed
    assert "Nobody is known as user:nobody" in texts(answer)


def test_a_role_that_the_policy_does_not_know_is_told() -> None:
    answer = ask("user:ada", "core_orchestrator.list_agents", "super_admin")
    assert not answer.is_allowed
    assert (
        "- It has the role super_admin (its own), which the policy does not know: it gives nothing."
        in texts(answer)
    )


def test_without_any_role_that_is_said() -> None:
    policy = default_policy().model_copy(update={"kinds": {}})
    request = ExplainAccess(subject="user:ada", operation="core_orchestrator:agents:read")
    answer = explain(request, policy, (), GOOD_STANDING, OPERATIONS)
    assert "- It has no role." in texts(answer)
    assert "The nearest" not in texts(answer)


def test_grants_of_a_credential_count_and_are_named() -> None:
    answer = ask("program:p", "error_bus:audit:read", scopes=("error_bus:*:read",))
    assert answer.is_allowed
    assert "+ Its credential grants error_bus:*:read" in texts(answer)


def test_a_scope_without_anything_near_it_gets_no_false_hint() -> None:
    policy = default_policy().model_copy(update={"roles": {}, "kinds": {}})
    request = ExplainAccess(subject="user:ada", operation="core_orchestrator:agents:read")
    answer = explain(request, policy, (), GOOD_STANDING, OPERATIONS, extra_scopes=("x:y:z",))
    assert texts(answer).splitlines()[2] == "- No grant allows core_orchestrator:agents:read."


@pytest.mark.parametrize(
    ("operation", "remedy"),
    [
        ("core_orchestrator.list_agent", "Did you mean core_orchestrator.list_agents?"),
        ("core_orchestrator:agent:read", "Did you mean core_orchestrator:agents:read?"),
        ("?", "Write service.name"),
        ("\x1b[2J", "Write service.name"),
    ],
)
def test_an_unknown_operation_is_refused_with_the_nearest(operation: str, remedy: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        ask("user:ada", operation)
    assert caught.value.remedy.startswith(remedy)
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.key)
def test_the_administrator_may_do_everything_and_every_operation_can_be_asked_for(operation: object) -> None:
    key = getattr(operation, "key", "")
    assert ask("user:ada", key, "admin").is_allowed


def test_who_may_write_mail_to_whom_can_be_asked_for_each_mail_scope() -> None:
    assert ask("agent:Camera", "mail:agents:write").is_allowed
    refused = ask("agent:Camera", "mail:vault:write")
    assert not refused.is_allowed
    assert "The nearest is mail:agents:write of the role agent" in texts(refused)
    with pytest.raises(InvalidInput):
        ask("agent:Camera", "mail:*:write")
