import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from serve_apps.middleware.request_scope import RequestScope
from serve_apps.refusal import HttpRefusal, InvalidRequest
from serve_apps.request_parsing import build_request, min_revision_of, parse_body, parse_query, shown
from zejzl_ray.contracts.orchestrator import OPERATIONS, AgentState, Heartbeat, ListAgents, RegisterAgent
from zejzl_ray.errors import InvalidInput, ServiceUnavailable

BY_NAME = {operation.name: operation for operation in OPERATIONS}


async def body_of(
    body: bytes, content_type: bytes = b"application/json", chunk: int = 7, depth: int = 5
) -> Any:
    parts = [body[start : start + chunk] for start in range(0, len(body), chunk)] or [b""]
    messages: list[Message] = [
        {"type": "http.request", "body": part, "more_body": number < len(parts) - 1}
        for number, part in enumerate(parts)
    ]

    async def receive() -> Message:
        return messages.pop(0)

    headers = {b"content-type": content_type} if content_type else {}
    return await parse_body(RequestScope(headers, "r", None), receive, depth)


async def test_a_body_in_pieces_is_one_object() -> None:
    assert await body_of(b'{"a": [1, {"b": 2}], "c": "x"}') == {"a": [1, {"b": 2}], "c": "x"}
    assert await body_of(b"") == {}
    assert await body_of(b"{}", b"Application/JSON; charset=utf-8") == {}


@pytest.mark.parametrize(
    "content_type", [b"", b"text/plain", b"application/jsonp", b"application/problem+json"]
)
async def test_a_body_that_is_not_said_to_be_json_is_refused(content_type: bytes) -> None:
    with pytest.raises(HttpRefusal) as caught:
        await body_of(b"{}", content_type)
    assert caught.value.status == 415


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"a": }', r"body: not JSON \(line 1, column 7\)"),
        (b'{"a": NaN}', "body: not JSON"),
        (b'{"a": "\xff"}', "body: not JSON"),
        (b'"unclosed', "body: not JSON"),
        (b"[1]", "body: not a JSON object"),
        (b'{"a":[[[[[1]]]]]}', "nested deeper than 5"),
        (b'{"a":' + b"[" * 100_000, "nested deeper than 5"),
        # would take hours if each quote were looked at as the possible begin of a string that never ends
        (b'{"a":' * 6 + b'"' + b'\\"' * 1_000_000, "nested deeper than 5"),
        (b'{"a":[[' + b'"' + b'\\"' * 1_000_000, "body: not JSON"),
        (b'[[[[[["\\', "nested deeper than 5"),
    ],
)
async def test_a_body_that_is_not_a_json_object_is_refused_with_the_place(body: bytes, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        await body_of(body, chunk=1000)


@given(st.lists(st.text(), max_size=30))
def test_brackets_inside_of_strings_are_no_depth(texts: list[str]) -> None:
    import asyncio

    content = {"a": [*texts, "[[[[[[[[", '"{{{{{{{{', "\\"]}
    assert asyncio.run(body_of(orjson.dumps(content), chunk=10_000)) == content


async def test_a_client_that_goes_away_ends_the_reading() -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    with pytest.raises(ServiceUnavailable):
        await parse_body(RequestScope({}, "r", None), receive, 5)


def test_query_parameters_are_decoded() -> None:
    assert parse_query({"query_string": b"a=1&b=x%20y&c="}) == {"a": "1", "b": "x y", "c": ""}
    assert parse_query({"query_string": b""}) == {}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (b"a=1&a=2", r"query\.a: given twice"),
        (b"a=%ff", "percent-encoded"),
        (b"a=\xff", "percent-encoded"),
        (b"a=" + b"x" * 9000, "longer than 8192"),
        (b"&".join(b"a%d=1" % number for number in range(100)), "percent-encoded"),
    ],
)
def test_a_query_that_cannot_be_read_is_refused(query: bytes, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        parse_query({"query_string": query})


def test_the_parts_become_the_request_model() -> None:
    listed = build_request(BY_NAME["list_agents"], {}, {"limit": "5", "state": "lost"}, {}, "r-1")
    assert listed == ListAgents(limit=5, state=AgentState.LOST)
    beat = build_request(BY_NAME["heartbeat"], {"name": "Coder"}, {}, {"status": "degraded"}, "r-1")
    assert isinstance(beat, Heartbeat)
    assert (beat.name, beat.status.value, beat.request_id) == ("Coder", "degraded", "r-1")


def test_a_command_keeps_the_request_id_of_its_body() -> None:
    made = build_request(BY_NAME["register_agent"], {}, {}, {"name": "Coder", "request_id": "mine-1"}, "r-1")
    assert isinstance(made, RegisterAgent)
    assert made.request_id == "mine-1"


def test_every_wrong_place_is_named_and_no_value_is_repeated() -> None:
    body = {"name": "1 SECRET", "port": 99_999, "SECRET2": 1, "metadata": {"a": 1}, "capabilities": ["", "x"]}
    with pytest.raises(InvalidRequest) as caught:
        build_request(BY_NAME["register_agent"], {}, {}, body, "r-1")
    places = [problem.place for problem in caught.value.places]
    assert places == ["body.name", "body.port", "body.capabilities.0", "body.SECRET2"]
    assert str(caught.value).startswith("body.name: ")
    assert "(and 3 more)" in caught.value.message
    assert "1 SECRET" not in json.dumps([str(caught.value), *(p.message for p in caught.value.places)])


@pytest.mark.parametrize(
    ("operation", "path", "query", "body", "place"),
    [
        ("get_agent", {"name": "1x"}, {}, {}, "path.name"),
        ("get_agent", {"name": "Coder"}, {"name": "Other"}, {}, "query.name"),
        ("heartbeat", {"name": "Coder"}, {}, {"name": "Other"}, "body.name"),
        ("heartbeat", {"name": "Coder"}, {"status": "x"}, {}, "query.status"),
        ("list_agents", {}, {"limit": "0"}, {}, "query.limit"),
        ("list_agents", {}, {"unknown": "0"}, {}, "query.unknown"),
        ("register_agent", {}, {}, {}, "body.name"),
    ],
)
def test_a_mistake_is_placed_in_the_part_where_it_stands(
    operation: str, path: dict[str, str], query: dict[str, str], body: dict[str, Any], place: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        build_request(BY_NAME[operation], path, query, body, "r-1")
    assert caught.value.message.startswith(f"{place}: ")
    assert caught.value.remedy


def test_very_many_mistakes_are_answered_with_the_first_ones() -> None:
    with pytest.raises(InvalidRequest) as caught:
        build_request(BY_NAME["register_agents"], {}, {}, {"agents": [{}] * 500}, "r-1")
    assert len(caught.value.places) == 20
    assert caught.value.message.startswith("body.agents.0.name: Field required (and 5")


def test_min_revision_is_taken_out_of_the_query() -> None:
    query = {"min_revision": "7", "limit": "1"}
    assert min_revision_of(query) == 7
    assert query == {"limit": "1"}
    assert min_revision_of(query) is None


@pytest.mark.parametrize("given_text", ["", "-1", "1.0", "x", "9" * 30, str(2**63), "\u0663"])
def test_a_min_revision_that_is_no_revision_is_refused(given_text: str) -> None:
    with pytest.raises(InvalidInput, match=r"query\.min_revision"):
        min_revision_of({"min_revision": given_text})


def test_names_from_outside_are_shown_short_and_printable() -> None:
    assert shown("a\nb") == "a?b"
    assert shown("x" * 100) == "x" * 64 + "..."
