"""What guards enforce without asking: rates and address lists of the policy, and the rates of single credentials."""

from zejzl_ray.contracts.policy import Policy
from zejzl_ray.contracts.security_feed import GuardLimits
from zejzl_ray.security import credentials, permissions
from zejzl_ray.security.draft import SecurityDraft


def limits_of(draft: SecurityDraft, policy: Policy) -> GuardLimits:
    """Return the limits in force; a credential's own rate goes before that of its subject's roles."""
    limits = permissions.limits_of(policy)
    own = credentials.rates(draft)
    return limits.model_copy(update={"role_rates": {**limits.role_rates, **own}}) if own else limits
