"""Identifiers are unique, and names have a grammar."""

import os
import re

import pytest

from zejzl_ray.contracts.call import REQUEST_ID_PATTERN
from zejzl_ray.ids import NAME_REGEX, new_id


def test_ids_differ_and_carry_their_kind() -> None:
    ids = [new_id("task") for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(one.startswith("task-") for one in ids)


def test_an_id_is_a_valid_request_id() -> None:
    assert re.fullmatch(REQUEST_ID_PATTERN, new_id())


def test_a_forked_child_does_not_repeat_its_parents_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = new_id().split("-")[1]
    monkeypatch.setattr(os, "getpid", lambda: -1)
    child = new_id().split("-")[1]
    assert child != parent
    assert new_id().split("-")[1] == child


@pytest.mark.parametrize("name", ["A", "Agent-1.b_c", "x" * 128])
def test_names_are_taken(name: str) -> None:
    assert NAME_REGEX.match(name)


@pytest.mark.parametrize("name", ["", "1a", "a b", "a/b", "x" * 129, "ä"])
def test_other_texts_are_no_names(name: str) -> None:
    assert not NAME_REGEX.match(name)
