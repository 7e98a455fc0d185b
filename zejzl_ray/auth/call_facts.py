"""What a call is about, read from its operation's declaration and its request."""

import re
from functools import lru_cache
from typing import Any, Final

from zejzl_ray.contracts.access import AuthenticatedCall, Principal, PrincipalKind
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.operation import Operation

_KINDS: Final = frozenset(kind.value for kind in PrincipalKind)
_FIELD: Final = re.compile(r"\{([^}]+)\}")
_MAX_TARGET: Final = 256


def authenticated(call: CallContext, principal: Principal) -> AuthenticatedCall:
    """Return the call with its caller; whatever principal it came with is left behind."""
    # As unpickling does it: the fields were validated when the call was made, and model_construct costs 2 us more,
    # which every call would pay.
    made = AuthenticatedCall.__new__(AuthenticatedCall)
    made.__setstate__(
        {
            "__dict__": {**call.__dict__, "principal": principal},
            "__pydantic_fields_set__": {*call.model_fields_set, "principal"},
            "__pydantic_extra__": None,
            "__pydantic_private__": None,
        }
    )
    return made


def is_own(operation: Operation, request: Contract, principal: Principal) -> bool:
    """Return whether the request is about the thing that bears the principal's name.

    A field that is called as a kind of principal (``user``, ``machine``) holds a name of that kind: an agent of the
    same name is somebody else.
    """
    kind = operation.own_field.rpartition(".")[2]
    if kind in _KINDS and kind != principal.kind:
        return False
    name = _value(request, operation.own_field)
    return isinstance(name, str) and name == principal.name


def target_of(operation: Operation, request: Contract) -> str:
    """Return the name of the thing that the call is about, for the audit trail; empty when it has none."""
    field = operation.own_field or _path_field(operation.path)
    value = _value(request, field) if field else ""
    return value[:_MAX_TARGET] if isinstance(value, str) else ""


def _value(request: Contract, field: str) -> Any:
    """Return a field of the request, with dots into nested models; None when something on the way is no model."""
    value: Any = request
    for part in field.split("."):
        if not isinstance(value, Contract):
            return None
        value = getattr(value, part, None)
    return value


@lru_cache(maxsize=1024)
def _path_field(path: str) -> str:
    found = _FIELD.search(path)
    return "" if found is None else found[1]
