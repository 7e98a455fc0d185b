"""An operation that nobody could be checked for cannot be declared."""

from typing import Any

import pytest

from zejzl_ray.contracts.health import ServiceHealth
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.people import GetUser

GOOD: dict[str, Any] = {
    "name": "get_user", "service": "s", "request": GetUser, "reply": ServiceHealth, "scope": "s:users:read",
    "verb": "GET", "path": "/v1/users/{user}", "own_scope": "s:self:read", "own_field": "user",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"scope": ""}, "declare a scope, or is_public"),
        ({"is_public": True}, "declare a scope, or is_public"),
        ({"scope": "s:users"}, "no service:resource:action"),
        ({"scope": "s:users:*"}, "no service:resource:action"),
        ({"own_scope": "anything"}, "no service:resource:action"),
        ({"own_scope": ""}, "belong together"),
        ({"own_field": ""}, "belong together"),
        ({"own_field": "nobody.name"}, "has no field nobody"),
    ],
)
def test_what_cannot_be_checked_is_refused_when_it_is_declared(change: dict[str, Any], why: str) -> None:
    Operation(**GOOD)
    with pytest.raises(ValueError, match=rf"s\.get_user: .*{why}"):
        Operation(**{**GOOD, **change})


@pytest.mark.parametrize(
    ("scope", "is_calm"),
    [("s:x:read", True), ("s:x:report", True), ("s:x:write", False), ("s:x:admin", False)],
)
def test_reading_and_reporting_are_calm(scope: str, is_calm: bool) -> None:
    assert Operation(**{**GOOD, "scope": scope}).is_calm is is_calm


def test_what_anybody_may_do_is_calm() -> None:
    public = {**GOOD, "scope": "", "own_scope": "", "own_field": "", "is_public": True}
    assert Operation(**public).is_calm
    assert Operation(**public).key == "s.get_user"
