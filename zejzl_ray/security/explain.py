"""May this subject do this, and why: the guard's decision taken apart, without a call."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from zejzl_ray.auth.scopes import allows, granting, is_within
from zejzl_ray.contracts.access import CALM_ACTIONS, PrincipalKind, Standing
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.policy import AccessExplanation, ExplainAccess, Policy, Reason
from zejzl_ray.errors import InvalidInput
from zejzl_ray.security.permissions import HeldRole, grants_of, roles_of
from zejzl_ray.security.policy_check import DOOR_SCOPE, MAIL_SCOPE
from zejzl_ray.security.policy_problem import did_you_mean, shown

_KINDS: Final = frozenset(kind.value for kind in PrincipalKind)
_PARTS: Final = ("service", "resource", "action")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What an operation asks for."""

    scope: str
    own_scope: str = ""
    own_field: str = ""
    is_public: bool = False
    is_calm: bool = False


def explain(
    request: ExplainAccess,
    policy: Policy,
    user_roles: Iterable[str] | None,
    standing: Standing,
    operations: Iterable[Operation],
    *,
    extra_scopes: Iterable[str] = (),
) -> AccessExplanation:
    """Return whether a subject may do something, and every step that leads to the answer.

    Args:
        request: subject, operation or scope, and the name of the thing it is done to.
        policy: in force, or one that is only tried.
        user_roles: the roles of the subject's account or credential; null: there is no such account or credential.
        standing: what its trust allows at the moment.
        operations: all that there are.
        extra_scopes: grants of its credential beyond its roles.

    Raises:
        InvalidInput: there is no such operation and no such scope; names the nearest.
    """
    asked = _asked(request.operation, tuple(operations))
    scopes = tuple(extra_scopes)
    if asked.is_public:
        reasons = (Reason(is_passed=True, text="Anybody may call it, without a token."),)
        return _answer(request, asked, is_allowed=True, reasons=reasons)
    if user_roles is None:
        text = f"Nobody is known as {request.subject}: there is no account and no credential of that name."
        return _answer(request, asked, is_allowed=False, reasons=(Reason(is_passed=False, text=text),))
    own_roles = tuple(user_roles)
    held = roles_of(request.subject, own_roles, policy)
    sources = _sources(held, scopes, policy)
    grants = grants_of(request.subject, own_roles, policy, scopes)
    by_grant, is_granted = _grant(asked, grants, sources, policy)
    own = () if is_granted or not asked.own_scope else (_own(asked, grants, request),)
    is_within_rights = is_granted or any(reason.is_passed for reason in own)
    trusted = _standing(asked, standing)
    reasons = (
        Reason(is_passed=True, text=f"{request.subject} is known."),
        *_roles(held),
        by_grant,
        *own,
        trusted,
    )
    return _answer(request, asked, is_allowed=is_within_rights and trusted.is_passed, reasons=reasons)


def _asked(text: str, operations: tuple[Operation, ...]) -> _Asked:
    by_key = {operation.key: operation for operation in operations}
    found = by_key.get(text)
    if found is not None:
        return _Asked(found.scope, found.own_scope, found.own_field, found.is_public, found.is_calm)
    scopes = {
        scope for operation in operations for scope in (operation.scope, operation.own_scope) if scope
    } | {DOOR_SCOPE}
    if text in scopes or ("*" not in text and is_within(text, (MAIL_SCOPE,))):
        return _Asked(text, is_calm=text.rpartition(":")[2] in CALM_ACTIONS)
    raise InvalidInput(
        f"There is no operation and no scope {shown(text)!r}.",
        did_you_mean(
            text,
            scopes if ":" in text else by_key,
            "Write service.name as in docs/operations_list.md, or a scope such as core_orchestrator:agents:read.",
        ),
    )


def _roles(held: tuple[HeldRole, ...]) -> tuple[Reason, ...]:
    if not held:
        return (Reason(is_passed=False, text="It has no role."),)
    return tuple(
        Reason(is_passed=True, text=f"It has the role {each.role} ({each.source}).")
        if each.is_defined
        else Reason(
            is_passed=False,
            text=f"It has the role {each.role} ({each.source}), which the policy does not know: it gives nothing.",
        )
        for each in held
    )


def _sources(held: tuple[HeldRole, ...], scopes: tuple[str, ...], policy: Policy) -> Mapping[str, str]:
    sources = dict.fromkeys(scopes, "its credential")
    for each in held:
        if each.is_defined:
            sources.update(dict.fromkeys(policy.roles[each.role].grants, f"the role {each.role}"))
    return sources


def _grant(
    asked: _Asked, grants: tuple[str, ...], sources: Mapping[str, str], policy: Policy
) -> tuple[Reason, bool]:
    grant = granting(grants, asked.scope)
    if grant is not None:
        source = sources[grant]
        text = f"{source[:1].upper()}{source[1:]} grants {grant}, which allows {asked.scope}."
        return Reason(is_passed=True, text=text), True
    text = f"No grant allows {asked.scope}."
    if grants:
        nearest = max(grants, key=lambda each: _likeness(each, asked.scope))
        if _likeness(nearest, asked.scope):
            text += f" The nearest is {nearest} of {sources[nearest]}: {_difference(nearest, asked.scope)}."
    enough = [role for role in sorted(policy.roles) if allows(grants_of("", (role,), policy), asked.scope)]
    if enough:
        text += f" It would be enough to have one of the roles {', '.join(enough)}."
    return Reason(is_passed=False, text=text), False


def _likeness(grant: str, scope: str) -> int:
    return sum(mine in ("*", its) for mine, its in zip(grant.split(":"), scope.split(":"), strict=True))


def _difference(grant: str, scope: str) -> str:
    parts = zip(_PARTS, grant.split(":"), scope.split(":"), strict=True)
    return ", ".join(
        f"its {part} is {mine}, not {its}" for part, mine, its in parts if mine not in ("*", its)
    )


def _own(asked: _Asked, grants: tuple[str, ...], request: ExplainAccess) -> Reason:
    """The rule for what bears the caller's own name."""
    kind, _, name = request.subject.partition(":")
    wanted = asked.own_field.rpartition(".")[2]
    if granting(grants, asked.own_scope) is None:
        text = (
            f"To do it to what bears its own name it would need {asked.own_scope}, which it has not either."
        )
        return Reason(is_passed=False, text=text)
    if wanted in _KINDS and wanted != kind:
        text = f"It has {asked.own_scope}, but {asked.own_field} is the name of a {wanted}, and it is none."
        return Reason(is_passed=False, text=text)
    if request.target == name:
        text = f"It has {asked.own_scope}, and {asked.own_field} is its own name, {name}."
        return Reason(is_passed=True, text=text)
    target = f"it is {shown(request.target)}" if request.target else "no target was given"
    text = f"It has {asked.own_scope}, which counts only where {asked.own_field} is {name}; {target}."
    return Reason(is_passed=False, text=text)


def _standing(asked: _Asked, standing: Standing) -> Reason:
    because = f" {standing.reason}".rstrip()
    if not standing.can_write and not asked.is_calm:
        text = f"Its trust is {standing.level}, so it may only read and report.{because}"
        return Reason(is_passed=False, text=text)
    text = f"Its trust is {standing.level}" + (
        ", which still allows to read and report." if not standing.can_write else "."
    )
    return Reason(is_passed=True, text=text)


def _answer(
    request: ExplainAccess, asked: _Asked, *, is_allowed: bool, reasons: tuple[Reason, ...]
) -> AccessExplanation:
    return AccessExplanation(
        subject=request.subject,
        operation=request.operation,
        scope=asked.scope,
        is_allowed=is_allowed,
        reasons=reasons,
    )
