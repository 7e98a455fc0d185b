"""Topics against a naive model with regular expressions."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zejzl_ray.bus.topics import TopicTable, fits
from zejzl_ray.errors import InvalidInput

WORDS = st.sampled_from(["a", "b", "c"])
TOPICS = st.lists(WORDS, min_size=1, max_size=4).map(".".join)
PATTERNS = st.builds(
    lambda words, has_rest: ".".join([*words, ">"] if has_rest or not words else words),
    st.lists(st.sampled_from(["a", "b", "c", "*"]), max_size=4),
    st.booleans(),
)
AGENTS = st.sampled_from(["ada", "bob", "cyn", "dan"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("subscribe"), AGENTS, PATTERNS),
        st.tuples(st.just("unsubscribe"), AGENTS, PATTERNS),
        st.tuples(st.just("remove"), AGENTS, st.just("")),
        st.tuples(st.just("match"), st.just(""), TOPICS),
    ),
    max_size=40,
)


def naive(pattern: str, topic: str) -> bool:
    parts = [{"*": r"[^.]+", ">": r".+"}.get(word, re.escape(word)) for word in pattern.split(".")]
    return re.fullmatch(r"\.".join(parts), topic) is not None


def naive_agents(subscriptions: list[tuple[str, str]], topic: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(agent for agent, pattern in subscriptions if naive(pattern, topic)))


@given(PATTERNS, TOPICS)
def test_a_pattern_means_what_a_regular_expression_says(pattern: str, topic: str) -> None:
    assert fits(pattern, topic) == naive(pattern, topic)


@given(STEPS, TOPICS)
def test_the_table_agrees_with_a_list_of_all_subscriptions(
    steps: list[tuple[str, str, str]], topic: str
) -> None:
    table = TopicTable()
    model: list[tuple[str, str]] = []
    for step, agent, text in [*steps, ("match", "", topic)]:
        if step == "subscribe":
            assert table.subscribe(agent, text) == ((agent, text) not in model)
            if (agent, text) not in model:
                model.append((agent, text))
        elif step == "unsubscribe":
            assert table.unsubscribe(agent, text) == ((agent, text) in model)
            model = [pair for pair in model if pair != (agent, text)]
        elif step == "remove":
            assert table.remove(agent) == sum(owner == agent for owner, _ in model)
            model = [pair for pair in model if pair[0] != agent]
        else:
            assert table.matching(text) == naive_agents(model, text)
    assert len(table) == len(model)
    assert [(agent, pattern) for pattern, agents in table.patterns().items() for agent in agents] == sorted(
        model, key=lambda pair: [other for _, other in model].index(pair[1])
    )


def test_an_emptied_table_keeps_no_branch() -> None:
    table = TopicTable()
    for pattern in ("a.*.c", "a.*", "a.>", "b.c.*", "b.c"):
        table.subscribe("ada", pattern)
    assert table.matching("a.x.c") == ("ada",)
    assert table.remove("ada") == 5
    assert (table._exact, table._root.children, table._by_agent) == ({}, {}, {})
    assert table.matching("a.x.c") == ()


def test_an_agent_that_leaves_does_not_take_the_branch_of_another() -> None:
    table = TopicTable()
    table.subscribe("ada", "a.*.c")
    table.subscribe("bob", "a.*.d")
    table.unsubscribe("ada", "a.*.c")
    assert table.matching("a.x.d") == ("bob",)


def test_of_two_agents_on_one_topic_one_may_leave() -> None:
    table = TopicTable()
    table.subscribe("ada", "a")
    table.subscribe("bob", "a")
    table.unsubscribe("ada", "a")
    assert table.matching("a") == ("bob",)


def test_the_cache_of_matches_stays_small_and_keeps_what_is_used() -> None:
    table = TopicTable()
    table.subscribe("ada", "often")
    for number in range(3000):
        table.matching("often")
        table.matching(f"once.{number}")
    assert len(table._cache) == 1024
    assert "often" in table._cache


def test_more_subscriptions_than_allowed_are_refused_and_repeating_one_is_not() -> None:
    table = TopicTable(max_subscriptions=2)
    table.subscribe("ada", "a")
    table.subscribe("ada", "b.>")
    assert not table.subscribe("ada", "a")
    with pytest.raises(InvalidInput, match="2 subscriptions"):
        table.subscribe("bob", "a")
    assert table.patterns() == {"a": ("ada",), "b.>": ("ada",)}
    table.unsubscribe("ada", "b.>")
    assert table.subscribe("bob", "a")


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("", "''"),
        (".a", "empty word at place 1"),
        ("a..b", "empty word at place 2"),
        ("a.", "empty word at place 2"),
        ("a.>.b", "goes on behind"),
        ("a.b*", "inside of the word 'b\\*'"),
        ("a.>>", "inside of the word"),
        ("a b", "space"),
        ("a\nb", "control"),
        ("a" * 257, "257 characters"),
        (None, "None"),
    ],
)
def test_a_malformed_pattern_is_refused_with_its_place(pattern: str, told: str) -> None:
    table = TopicTable()
    for call in (table.subscribe, table.unsubscribe):
        with pytest.raises(InvalidInput, match=told) as caught:
            call("ada", pattern)
        assert caught.value.remedy
    assert len(table) == 0


@pytest.mark.parametrize("topic", ["*", "a.*", "a.>", "a.b*", "", "a..b", "a" * 257, 7, ["a"]])
def test_what_is_no_topic_cannot_be_published_on(topic: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        TopicTable().matching(topic)
    assert caught.value.remedy


def test_a_topic_of_the_full_length_is_taken() -> None:
    topic = ".".join(["a"] * 128) + "b"
    table = TopicTable()
    table.subscribe("ada", ">")
    assert len(topic) == 256
    assert table.matching(topic) == ("ada",)
