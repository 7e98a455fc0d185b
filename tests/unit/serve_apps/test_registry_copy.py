import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_apps.registry_copy import RegistryCopy, decode_cursor, encode_cursor
from tests.unit.serve_apps.fake_registry import NOW_S, agent
from zejzl_ray.contracts.orchestrator import (
    Agent,
    AgentEvent,
    AgentKind,
    AgentPage,
    ListAgents,
    RegistrySnapshot,
)
from zejzl_ray.errors import InvalidInput


def copy_of(*agents: Agent) -> RegistryCopy:
    copy = RegistryCopy()
    copy.load(RegistrySnapshot(agents=agents, machines=(), revision=len(agents), boot="1"))
    return copy


def event(name: str, revision: int, record: Agent | None) -> AgentEvent:
    kind = "agent_deregistered" if record is None else "agent_updated"
    return AgentEvent(kind=kind, name=name, revision=revision, at_s=NOW_S, agent=record)


def page(copy: RegistryCopy, **query: object) -> AgentPage:
    return AgentPage.model_validate_json(copy.page(ListAgents.model_validate(query)))


def names(copy: RegistryCopy, **query: object) -> list[str]:
    return [one.name for one in page(copy, **query).agents]


def test_an_agent_is_found_by_its_name_and_by_an_alias_with_the_same_bytes() -> None:
    copy = copy_of(agent("Coder", aliases=("Programmer",)))
    assert copy.body("Coder") == copy.body("Programmer")
    assert copy.find("Programmer") == copy.find("Coder")
    assert copy.body("Nobody") is None


def test_the_bytes_are_the_record_as_json() -> None:
    record = agent("Coder", metadata={"a": [1, {"b": None}]})
    body = copy_of(record).body("Coder")
    assert body is not None
    assert Agent.model_validate_json(body) == record


def test_a_change_replaces_record_bytes_aliases_and_filters() -> None:
    copy = copy_of(agent("Coder", aliases=("Old",), machine="mainpc"))
    copy.body("Coder")
    copy.apply([event("Coder", 5, agent("Coder", 5, aliases=("New",), machine="pc2"))])
    assert copy.find("Old") is None
    assert copy.find("New") is not None
    assert names(copy, machine="mainpc") == []
    assert names(copy, machine="pc2") == ["Coder"]
    assert b'"pc2"' in (copy.body("Coder") or b"")
    assert copy.revision == 5


def test_a_change_that_is_known_already_is_skipped() -> None:
    copy = copy_of(agent("Coder", machine="mainpc"))
    copy.apply([event("Coder", 1, None)])
    assert copy.find("Coder") is not None


def test_a_removed_agent_is_gone_and_removing_it_again_is_harmless() -> None:
    copy = copy_of(agent("Coder"), agent("Tester"))
    copy.apply([event("Coder", 3, None), event("Coder", 4, None)])
    assert names(copy) == ["Tester"]
    assert len(copy) == 1


def test_renewal_times_are_taken_over_only_for_the_same_revision() -> None:
    copy = copy_of(agent("Coder", 1), agent("Tester", 2))
    copy.body("Coder")
    copy.renew(
        [agent("Coder", 1, last_seen_at_s=9.0), agent("Tester", 1, last_seen_at_s=9.0), agent("Unknown", 1)]
    )
    assert orjson.loads(copy.body("Coder") or b"")["last_seen_at_s"] == 9.0
    assert orjson.loads(copy.body("Tester") or b"")["last_seen_at_s"] is None
    assert copy.find("Unknown") is None


def test_all_filters_must_hold() -> None:
    copy = copy_of(
        agent("A", machine="mainpc", capabilities=("chat", "search"), metadata={"group": "one", "level": 3}),
        agent("B", machine="mainpc", capabilities=("chat",), metadata={"group": "two", "on": True}),
        agent("C", machine="pc2", capabilities=("chat",), kind=AgentKind.PROCESS, agent_type="worker"),
    )
    assert names(copy, capability="chat") == ["A", "B", "C"]
    assert names(copy, capability="chat", machine="mainpc") == ["A", "B"]
    assert names(copy, capability="chat", kind="process", agent_type="worker", state="healthy") == ["C"]
    assert names(copy, machine="nowhere") == []
    assert names(copy, metadata_key="group") == ["A", "B"]
    assert names(copy, metadata_key="group", metadata_value="two") == ["B"]
    assert names(copy, metadata_key="level", metadata_value="3") == ["A"]
    assert names(copy, metadata_key="on", metadata_value="true") == ["B"]


def test_a_metadata_value_without_its_key_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"query\.metadata_value"):
        copy_of().page(ListAgents(metadata_value="x"))


@given(st.sets(st.integers(0, 60), max_size=40), st.integers(1, 7), st.booleans())
def test_pages_together_are_the_whole_list_in_order(numbers: set[int], limit: int, is_filtered: bool) -> None:
    copy = copy_of(*(agent(f"A{number:02}", machine="mainpc") for number in numbers))
    query: dict[str, object] = {"limit": limit} | ({"machine": "mainpc"} if is_filtered else {})
    found: list[str] = []
    cursor = ""
    while True:
        got = page(copy, **query, cursor=cursor)
        assert len(got.agents) <= limit
        found += [one.name for one in got.agents]
        cursor = got.next_cursor
        if not cursor:
            break
    assert found == [f"A{number:02}" for number in sorted(numbers)]


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["mainpc", "pc2", None])), max_size=30))
def test_following_changes_gives_the_same_as_loading_the_result(moves: list[tuple[int, str | None]]) -> None:
    followed = copy_of()
    truth: dict[str, Agent] = {}
    for revision, (number, machine) in enumerate(moves, start=1):
        name = f"A{number}"
        record = (
            None if machine is None else agent(name, revision, machine=machine, aliases=(f"Alias{number}",))
        )
        truth.pop(name, None)
        if record is not None:
            truth[name] = record
        followed.apply([event(name, revision, record)])
    loaded = RegistryCopy()
    loaded.load(RegistrySnapshot(agents=tuple(truth.values()), machines=(), revision=len(moves), boot="1"))
    for query in ({}, {"machine": "mainpc"}, {"machine": "pc2", "state": "healthy"}):
        assert page(followed, **query) == page(loaded, **query)
    assert list(followed.names) == sorted(truth)
    for number in range(6):
        assert followed.body(f"Alias{number}") == loaded.body(f"Alias{number}")


def test_a_cursor_comes_back_as_its_name() -> None:
    assert decode_cursor(encode_cursor("Some.Agent-1")) == "Some.Agent-1"


@pytest.mark.parametrize(
    "cursor", ["x", "====", "Coder", "MTo", encode_cursor("1 bad"), "\u00e9", "MjpBZ2VudA"]
)
def test_a_foreign_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidInput, match=r"query\.cursor"):
        decode_cursor(cursor)
