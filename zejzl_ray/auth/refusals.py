"""What callers are told when the guard refuses them: enough for an honest one, nothing for anybody else."""

from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.errors import Forbidden, SecurityFeedStale, ServiceUnavailable, Unauthenticated


def no_token(operation: Operation) -> Unauthenticated:
    """The call has no token."""
    return Unauthenticated(
        f"{operation.key}: the call has no token.",
        "Get one with `zejzl login`, or exchange a credential at POST /v1/auth/token, and send it as "
        "'Authorization: Bearer TOKEN'; `zejzl up` prints where the first one lies.",
    )


def not_read(service: str) -> ServiceUnavailable:
    """Nothing was heard of the gateway yet."""
    return ServiceUnavailable(
        f"{service} cannot check tokens yet: it has not heard of the security gateway since it started.",
        "Try again in a moment; `zejzl status` says whether the gateway is up.",
    )


def stale_feed(operation: Operation, age_s: float) -> SecurityFeedStale:
    """The news are too old for this operation."""
    return SecurityFeedStale(
        f"{operation.key}: the last news of revocations are {age_s:.0f} s old, and until newer ones come only reading "
        "and reporting are allowed.",
        "Try again when the security gateway answers; `zejzl status` says how it is.",
    )


def no_scope(operation: Operation, principal: Principal) -> Forbidden:
    """The token allows something else."""
    own = f", or {operation.own_scope} for what bears its own name" if operation.own_scope else ""
    return Forbidden(
        f"{operation.key}: {principal.subject} lacks the scope {operation.scope}{own}.",
        f"Ask an administrator for it; `zejzl auth explain {principal.subject} {operation.key}` says what leads to it.",
    )


def no_standing(operation: Operation, principal: Principal) -> Forbidden:
    """The caller's trust is too low."""
    standing = principal.standing
    reason = f" ({standing.reason})" if standing.reason else ""
    return Forbidden(
        f"{operation.key}: the trust of {principal.subject} is {standing.score:.2f}, level {standing.level}{reason}, "
        "which allows only reading and reporting.",
        "It rises again with successful work and with time; "
        f"`zejzl trust show {principal.subject}` says how far, and an administrator can reset it.",
    )


def kept_out(address: str, why: str) -> Forbidden:
    """The address may not come in."""
    return Forbidden(
        f"Calls from {address} are not taken: {why}.",
        "An administrator can change `addresses` in config/policy.yaml.",
    )
