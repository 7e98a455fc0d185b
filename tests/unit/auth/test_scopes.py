"""Which grant covers which scope, and what narrowing leaves."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zejzl_ray.auth.scopes import allows, granting, is_within, narrowed

_PART = st.sampled_from(["*", "a", "b"])
_GRANT = st.tuples(_PART, _PART, _PART).map(":".join)
_SCOPES = [":".join(parts) for parts in itertools.product("ab", repeat=3)]


@pytest.mark.parametrize(
    ("grant", "scope", "is_allowed"),
    [
        ("core:agents:read", "core:agents:read", True),
        ("core:agents:read", "core:agents:write", False),
        ("core:*:read", "core:machines:read", True),
        ("core:*:read", "hub:machines:read", False),
        ("*:*:*", "core:agents:admin", True),
        ("*:*:read", "core:agents:write", False),
        ("core:agents", "core:agents:read", False),
        ("core:agents:read:more", "core:agents:read", False),
        ("*", "core:agents:read", False),
        ("", "core:agents:read", False),
        ("*:*:*", "core:agents", False),
        ("*:*:*", "core::read", False),
        ("*:*:*", "*:*:*", False),
        ("*:*:*", "", False),
    ],
)
def test_a_grant_covers_a_scope_part_by_part(grant: str, scope: str, is_allowed: bool) -> None:
    assert allows([grant], scope) is is_allowed


def test_the_first_grant_that_covers_is_named() -> None:
    assert granting(["core:agents:write", "core:*:read", "*:*:*"], "core:agents:read") == "core:*:read"
    assert granting([], "core:agents:read") is None


@pytest.mark.parametrize(
    ("wanted", "held", "left"),
    [
        (["*:*:read"], ["core:*:*"], ("core:*:read",)),
        (["core:agents:read"], ["core:*:*"], ("core:agents:read",)),
        (["core:agents:read"], ["hub:*:*"], ()),
        ([], ["core:*:*", "core:*:*"], ("core:*:*",)),
        (["*:*:*"], ["core:*:read", "core:agents:read"], ("core:*:read",)),
        (["nonsense"], ["*:*:*"], ()),
        (["core:agents:read"], [], ()),
    ],
)
def test_what_is_left_is_wanted_and_held(wanted: list[str], held: list[str], left: tuple[str, ...]) -> None:
    assert narrowed(wanted, held) == left


@given(st.lists(_GRANT, min_size=1, max_size=4), st.lists(_GRANT, max_size=4))
def test_narrowing_allows_exactly_what_both_allow(wanted: list[str], held: list[str]) -> None:
    left = narrowed(wanted, held)
    for scope in _SCOPES:
        assert allows(left, scope) == (allows(wanted, scope) and allows(held, scope))
    assert all(not is_within(one, [other for other in left if other != one]) for one in left)


@given(_GRANT, _GRANT)
def test_a_grant_lies_within_another_when_it_covers_no_scope_more(one: str, other: str) -> None:
    covers_no_more = all(allows([other], scope) for scope in _SCOPES if allows([one], scope))
    # a star also stands for names that are not in the sample
    if is_within(one, [other]):
        assert covers_no_more
    else:
        assert not covers_no_more or "*" in one
