"""What a policy may not say although every value in it is right: unknown roles, circles, thresholds out of order.

An error keeps a policy from being put in force; a warning is for its author to look at.
"""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_network
from typing import Final

from zejzl_ray.auth.scopes import allows, is_within
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.policy import Policy, RatePolicy
from zejzl_ray.contracts.services import (
    AGENT_HOST_OPERATIONS,
    NODE_AGENT_OPERATIONS,
    OPERATIONS,
    SERVICE_NAMES,
)
from zejzl_ray.security.permissions import grants_of
from zejzl_ray.security.policy_problem import Path, PolicyProblem, did_you_mean
from zejzl_ray.security.trust_check import check_trust

ADMINISTRATOR: Final = "admin"
"""The role that the first administrator gets."""

# A front door asks nobody for this; the guards look for it in the door's own token.
DOOR_SCOPE: Final = "zejzl:address:report"
# Nor does an operation ask for this: it is what a message from another host needs, with the receiver's mail scope.
MAIL_SCOPE: Final = "mail:*:write"
MAX_GRANT_BYTES: Final = 4096
"""Length of all grants of one role together: a token carries them, and is refused above 8192 bytes."""

_NEWS: Final = ("security_gateway:feed:read", "security_gateway:audit:report")
# Without these the system does not start, or its guards hear of no revocation.
_NEEDED: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("service:any", _NEWS),
    ("machine:any", (*_NEWS, "core_orchestrator:machines:own")),
    (
        "service:ingress",
        (*_NEWS, "core_orchestrator:agents:read", "core_orchestrator:machines:read", DOOR_SCOPE),
    ),
    (
        "service:root",
        (
            *_NEWS,
            "security_gateway:bootstrap:admin",
            "core_orchestrator:fleet:write",
            *(f"{service}:service:admin" for service in SERVICE_NAMES),
        ),
    ),
)
_UNTRUSTED_KINDS: Final = ("agent", "program")


def check_policy(
    policy: Policy,
    operations: Iterable[Operation] = (*OPERATIONS, *NODE_AGENT_OPERATIONS, *AGENT_HOST_OPERATIONS),
) -> tuple[PolicyProblem, ...]:
    """Return what is wrong with a policy, errors and warnings; nothing is no problem.

    Args:
        policy: whose values are right each by itself.
        operations: what grants may be for.
    """
    roles = tuple(_unknown_roles(policy))
    circles = tuple(_circles(policy))
    scopes = frozenset(
        scope for operation in operations for scope in (operation.scope, operation.own_scope) if scope
    ) | {DOOR_SCOPE}
    return (
        *roles,
        *circles,
        *_administration(policy),
        # What roles come to is worth telling once their names are right.
        *(_needs(policy) if not roles else ()),
        *_sizes(policy),
        *_aimless_grants(policy, scopes),
        *_wide_grants(policy),
        *_rates(policy),
        *_addresses(policy),
        *check_trust(policy.trust),
    )


def _unknown_roles(policy: Policy) -> Iterator[PolicyProblem]:
    named: list[tuple[Path, tuple[str, ...]]] = [
        *((("roles", name, "includes"), spec.includes) for name, spec in policy.roles.items()),
        *((("kinds", kind), roles) for kind, roles in policy.kinds.items()),
        *((("subjects", subject), roles) for subject, roles in policy.subjects.items()),
    ]
    for path, roles in named:
        for index, role in enumerate(roles):
            if role not in policy.roles:
                remedy = did_you_mean(role, policy.roles, f"There are {', '.join(sorted(policy.roles))}.")
                yield PolicyProblem("unknown-role", f"there is no role {role!r}", remedy, (*path, index))


def _circles(policy: Policy) -> Iterator[PolicyProblem]:
    told: set[str] = set()
    for start in policy.roles:
        way = _way_back(start, policy)
        if way and start not in told:
            told.update(way)
            yield PolicyProblem(
                "role-circle",
                f"the role {start!r} includes itself: {' -> '.join((*way, start))}",
                "Take one of these out of `includes`.",
                ("roles", start, "includes"),
            )


def _way_back(start: str, policy: Policy) -> tuple[str, ...]:
    """Return the roles on a shortest way from a role to itself; empty when there is none."""
    ways: list[tuple[str, ...]] = [(start,)]
    seen: set[str] = set()
    for way in ways:  # grows
        spec = policy.roles.get(way[-1])
        for included in spec.includes if spec is not None else ():
            if included == start:
                return way
            if included not in seen:
                seen.add(included)
                ways.append((*way, included))
    return ()


def _administration(policy: Policy) -> Iterator[PolicyProblem]:
    if "*:*:*" not in grants_of("", (ADMINISTRATOR,), policy):
        yield PolicyProblem(
            "no-administrator",
            f"the role {ADMINISTRATOR!r} does not allow everything, so nobody could administer the system",
            f'Give {ADMINISTRATOR} the grant "*:*:*".',
            ("roles", ADMINISTRATOR),
        )


def _needs(policy: Policy) -> Iterator[PolicyProblem]:
    for subject, scopes in _NEEDED:
        held = grants_of(subject, (), policy)
        missing = [scope for scope in scopes if not allows(held, scope)]
        if missing:
            kind, _, name = subject.partition(":")
            who = f"every {kind}" if name == "any" else subject
            path: Path = ("kinds", kind) if name == "any" else ("subjects", subject)
            yield PolicyProblem(
                "system-needs",
                f"{who} needs {', '.join(missing)}, or the system does not work",
                "Give it a role that has this; see the shipped policy.",
                path,
            )


def _sizes(policy: Policy) -> Iterator[PolicyProblem]:
    for role in policy.roles:
        size = len(" ".join(grants_of("", (role,), policy)))
        if size > MAX_GRANT_BYTES:
            yield PolicyProblem(
                "role-too-large",
                f"the grants of the role {role!r} are {size} bytes long, a token has room for {MAX_GRANT_BYTES}",
                "Put * where many grants differ in one part, or make two roles.",
                ("roles", role, "grants"),
            )


def _aimless_grants(policy: Policy, scopes: frozenset[str]) -> Iterator[PolicyProblem]:
    for name, spec in policy.roles.items():
        for index, grant in enumerate(spec.grants):
            is_for_mail = is_within(grant, (MAIL_SCOPE,))
            if not is_for_mail and not any(is_within(scope, (grant,)) for scope in scopes):
                yield PolicyProblem(
                    "grant-for-nothing",
                    f"the grant {grant} allows no operation that there is",
                    did_you_mean(grant, scopes, "docs/operations_list.md has what operations ask for."),
                    ("roles", name, "grants", index),
                    is_error=False,
                )


def _wide_grants(policy: Policy) -> Iterator[PolicyProblem]:
    holders: list[tuple[str, Path]] = [
        *((f"{kind}:any", ("kinds", kind)) for kind in _UNTRUSTED_KINDS),
        *(
            (subject, ("subjects", subject))
            for subject in policy.subjects
            if subject.partition(":")[0] in _UNTRUSTED_KINDS
        ),
    ]
    for subject, path in holders:
        wide = [grant for grant in grants_of(subject, (), policy) if "*" in grant]
        if wide:
            kind, _, name = subject.partition(":")
            yield PolicyProblem(
                "wide-grant",
                f"{f'every {kind}' if name == 'any' else subject} may do {', '.join(wide)}",
                "Name what it needs instead of *.",
                path,
                is_error=False,
            )


def _rates(policy: Policy) -> Iterator[PolicyProblem]:
    rates: list[tuple[Path, RatePolicy | None]] = [
        (("rate",), policy.rate),
        (("address_rate",), policy.address_rate),
        *((("roles", name, "rate"), spec.rate) for name, spec in policy.roles.items()),
    ]
    for path, rate in rates:
        if rate is not None and rate.sustained_per_min < rate.burst_per_s:
            yield PolicyProblem(
                "rate-order",
                f"{rate.burst_per_s} calls in a second can never be, where a minute allows {rate.sustained_per_min}",
                "Raise sustained_per_min, or lower burst_per_s.",
                path,
                is_error=False,
            )


def _addresses(policy: Policy) -> Iterator[PolicyProblem]:
    lists = {"allow": policy.addresses.allow, "deny": policy.addresses.deny}
    allowed = []
    for name, texts in lists.items():
        for index, text in enumerate(texts):
            try:
                network = ip_network(text, strict=False)
            except ValueError as error:
                path = ("addresses", name, index)
                yield PolicyProblem("bad-address", f"{error}", "Write 192.168.1.0/24, for example.", path)
                continue
            if name == "allow":
                allowed.append(network)
    if allowed and not any(ip_address("127.0.0.1") in network for network in allowed):
        yield PolicyProblem(
            "locked-out",
            "the allow list lacks 127.0.0.1, so that not even this machine may come in over HTTP",
            "Add 127.0.0.0/8.",
            ("addresses", "allow"),
            is_error=False,
        )
