import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zejzl_ray.contracts import orchestrator as wire
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.sdk.http_request import to_http

OPERATIONS = {operation.name: operation for operation in wire.OPERATIONS}


class Free(Contract):
    name: str
    tags: tuple[str, ...] = ()
    is_loud: bool = False
    limit: int | None = None


GET_FREE = Operation("free", "s", Free, Free, "s:x:read", "GET", "/v1/free/{name}")


def test_a_get_has_its_fields_in_path_and_query_and_no_body() -> None:
    sent = to_http(
        OPERATIONS["list_agents"], wire.ListAgents(machine="pc2", state=wire.AgentState.LOST, limit=7)
    )
    assert (sent.verb, sent.path, sent.body) == ("GET", "/v1/agents", None)
    assert dict(sent.query) == {"machine": "pc2", "state": "lost", "cursor": "", "limit": "7"}


def test_a_list_repeats_its_name_and_a_boolean_is_lower_case() -> None:
    sent = to_http(GET_FREE, Free(name="x", tags=("a", "b"), is_loud=True))
    assert sent.query == (("tags", "a"), ("tags", "b"), ("is_loud", "true"))


def test_a_post_has_the_request_id_in_its_body_so_that_repeating_is_safe() -> None:
    sent = to_http(OPERATIONS["register_agent"], wire.RegisterAgent(name="Scout", request_id="req-7"))
    assert sent.path == "/v1/agents"
    assert sent.query == ()
    assert json.loads(sent.body or b"")["request_id"] == "req-7"


def test_a_field_of_the_path_is_not_repeated_in_the_body() -> None:
    sent = to_http(OPERATIONS["heartbeat"], wire.Heartbeat(name="Scout"))
    assert sent.path == "/v1/agents/Scout/heartbeat"
    assert "name" not in json.loads(sent.body or b"")


def test_a_delete_carries_its_request_id_in_the_query() -> None:
    sent = to_http(OPERATIONS["deregister_agent"], wire.DeregisterAgent(name="Scout", request_id="req-9"))
    assert (sent.verb, sent.path, sent.body) == ("DELETE", "/v1/agents/Scout", None)
    assert dict(sent.query) == {"request_id": "req-9", "reason": "", "held_by": ""}


@given(st.text(min_size=1))
def test_no_name_leaves_its_place_in_the_path(name: str) -> None:
    path = to_http(GET_FREE, Free.model_construct(name=name, tags=(), is_loud=False, limit=None)).path
    assert path.startswith("/v1/free/")
    assert set(path.removeprefix("/v1/free/")).isdisjoint("/?#\\ \n")


@pytest.mark.parametrize("operation", wire.OPERATIONS, ids=lambda operation: operation.name)
def test_every_field_in_a_path_is_a_field_of_the_request(operation: Operation) -> None:
    assert set(re.findall(r"\{(\w+)\}", operation.path)) <= set(operation.request.model_fields)
