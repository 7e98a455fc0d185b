"""What a principal may do: from its roles to its grants, its rate, and who loses rights when the policy changes."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from zejzl_ray.auth.scopes import is_within
from zejzl_ray.contracts.policy import Policy, RatePolicy
from zejzl_ray.contracts.security_feed import GuardLimits

_MAX_ANSWERS: Final = 10_000


@dataclass(frozen=True, slots=True)
class HeldRole:
    """A role and where it comes from.

    Attributes:
        role: its name.
        source: ``its own``, ``kind agent``, ``subject agent:X``, or ``role operator`` for one that is included.
        is_defined: whether the policy knows it; an unknown one gives nothing.
    """

    role: str
    source: str
    is_defined: bool = True


def roles_of(subject: str, extra_roles: Iterable[str], policy: Policy) -> tuple[HeldRole, ...]:
    """Return every role of a subject once: of its kind, of its own entry, those given to it, and what they include."""
    kind = subject.partition(":")[0]
    waiting = [
        *(
            (role, f"kind {kind}")
            for of_kind, roles in policy.kinds.items()
            if of_kind == kind
            for role in roles
        ),
        *((role, f"subject {subject}") for role in policy.subjects.get(subject, ())),
        *((role, "its own") for role in extra_roles),
    ]
    found: dict[str, HeldRole] = {}
    for role, source in waiting:  # grows as included ones are met; a cycle ends at the one that is known
        if role in found:
            continue
        spec = policy.roles.get(role)
        found[role] = HeldRole(role, source, spec is not None)
        if spec is not None:
            waiting.extend((included, f"role {role}") for included in spec.includes)
    return tuple(found.values())


def grants_of(
    subject: str, extra_roles: Iterable[str], policy: Policy, extra_scopes: Iterable[str] = ()
) -> tuple[str, ...]:
    """Return what a subject may do, sorted; a grant that lies within another one is left out.

    Args:
        subject: ``kind:name``.
        extra_roles: beyond those of its kind and its entry in the policy: of a person's account, of a credential. One
            that the policy does not know gives nothing.
        policy: in force.
        extra_scopes: grants given without a role.
    """
    answers = _answers_for(policy)
    # Subjects without an entry of their own share the answer of their kind.
    who = subject if subject in policy.subjects else subject.partition(":")[0]
    key = (who, tuple(extra_roles), tuple(extra_scopes))
    known = answers.get(key)
    if known is None:
        held = roles_of(subject, key[1], policy)
        known = minimal((*(grant for each in held for grant in _own_grants(each.role, policy)), *key[2]))
        if len(answers) >= _MAX_ANSWERS:
            answers.clear()
        answers[key] = known
    return known


def minimal(grants: Iterable[str]) -> tuple[str, ...]:
    """Return the grants sorted and once each, without those that lie within another one."""
    distinct = sorted(set(grants))
    return tuple(one for one in distinct if not is_within(one, (other for other in distinct if other != one)))


def rate_of(subject: str, policy: Policy) -> RatePolicy | None:
    """Return the rate of a subject's roles in the policy, the highest of each part; null: the policy's default."""
    specs = (policy.roles.get(held.role) for held in roles_of(subject, (), policy))
    rates = [spec.rate for spec in specs if spec is not None and spec.rate is not None]
    if not rates:
        return None
    return RatePolicy(
        burst_per_s=max(rate.burst_per_s for rate in rates),
        sustained_per_min=max(rate.sustained_per_min for rate in rates),
    )


def limits_of(policy: Policy) -> GuardLimits:
    """Return what guards need of a policy."""
    # A kind by itself has no entry in ``subjects``, so that its roles alone count.
    rates = {who: rate_of(who, policy) for who in (*policy.kinds, *policy.subjects)}
    return GuardLimits(
        rate=policy.rate,
        address_rate=policy.address_rate,
        role_rates={who: rate for who, rate in rates.items() if rate is not None},
        addresses=policy.addresses,
    )


def shrunk_subjects(old: Policy, new: Policy, known: Iterable[tuple[str, Iterable[str]]]) -> tuple[str, ...]:
    """Return whose rights get smaller with another policy, sorted.

    Args:
        old: in force until now.
        new: the other one.
        known: subject and its own roles, once for each account and each credential of it: a token was made from one of
            them, so that what another one still gives does not count. Subjects that a policy names are looked at too.
    """
    named = ((subject, ()) for policy in (old, new) for subject in policy.subjects)
    shrunk: set[str] = set()
    for subject, roles in (*known, *named):
        own = tuple(roles)
        after = grants_of(subject, own, new)
        if not all(is_within(grant, after) for grant in grants_of(subject, own, old)):
            shrunk.add(subject)
    return tuple(sorted(shrunk))


@dataclass(slots=True)
class _Answers:
    """Grants that were looked up already; a policy is frozen, so that they stay true for this very object."""

    policy: Policy | None = None
    by_key: dict[tuple[str, tuple[str, ...], tuple[str, ...]], tuple[str, ...]] = field(default_factory=dict)


_recent: Final = [_Answers(), _Answers()]  # of the policy in force, and of one that it is compared with


def _answers_for(policy: Policy) -> dict[tuple[str, tuple[str, ...], tuple[str, ...]], tuple[str, ...]]:
    if _recent[0].policy is not policy:
        _recent.reverse()
        if _recent[0].policy is not policy:
            _recent[0] = _Answers(policy)
    return _recent[0].by_key


def _own_grants(role: str, policy: Policy) -> tuple[str, ...]:
    spec = policy.roles.get(role)
    return () if spec is None else spec.grants
