"""Edits in the text of old files."""

import textwrap

import pytest
import yaml

from zejzl_ray.errors import FleetInvalid
from zejzl_ray.fleet.legacy_text import LegacyText

GROUPS = textwrap.dedent("""\
    # head
    agent_groups:
      core:
        A:
          script_path: a.py   # why
          port: ${PORT_OFFSET}+7100
          health_check_port: 8100
          dependencies:
            - B   # keep me
            - C
          config: {note: "no # comment"}

          # below A
        # above B
        B:
          port: 1
          dependencies: [A, C]
      empty: null
      nested:
        inner:
          C: {port: 2}
    """)
LIST = textwrap.dedent("""\
    pc2_services:
      # first
      - {
          name: A,
          port: 1,
          dependencies: [B],
        }
      - { name: B, port: 2 }
      - name: C
        port: 3
        dependencies: []
    # about core
    core_services:
      - name: A
        extra: |
          two
          lines
    last: 1
    """)


def groups() -> LegacyText:
    return LegacyText(GROUPS, "groups.yaml")


def listed() -> LegacyText:
    return LegacyText(LIST, "list.yaml")


def test_without_edits_the_text_comes_back_as_it_was() -> None:
    assert groups().result() == GROUPS
    assert listed().result() == LIST


def test_entries_are_found_in_groups_nested_groups_and_lists() -> None:
    assert [(entry.name, entry.path) for entry in groups().entries] == [
        ("A", "agent_groups.core"),
        ("B", "agent_groups.core"),
        ("C", "agent_groups.nested.inner"),
    ]
    assert [entry.name for entry in listed().entries] == ["A", "B", "C", "A"]
    assert len(listed().named("A")) == 2


def test_an_entry_goes_with_the_comments_below_it_and_leaves_those_of_the_next() -> None:
    document = groups()
    document.remove(document.named("A")[0])
    text = document.result()
    assert "below A" not in text
    assert text.startswith("# head\nagent_groups:\n  core:\n    # above B\n    B:\n")


def test_an_item_goes_and_the_others_keep_their_text() -> None:
    document = listed()
    document.remove(document.named("A")[0])
    document.remove(document.named("C")[0])
    text = document.result()
    assert text.startswith("pc2_services:\n  # first\n  - { name: B, port: 2 }\n# about core\n")


def test_a_list_that_is_empty_now_goes_with_its_comment() -> None:
    document = listed()
    second = document.named("A")[1]
    document.remove(second)
    document.remove_emptied_lists([second])
    assert document.result() == LIST[: LIST.index("# about core")] + "last: 1\n"


def test_a_dependency_that_stays_keeps_its_line_and_comment() -> None:
    document = groups()
    document.rewire(document.named("A")[0], {"C": "X"})
    assert "        - B   # keep me\n        - X\n" in document.result()


def test_two_names_that_become_one_are_listed_once() -> None:
    document = groups()
    for entry in document.entries:
        document.rewire(entry, {"A": "X", "B": "X", "C": "X"})
    text = document.result()
    assert "        - X   # keep me\n      config" in text
    assert "dependencies: [X]\n" in text


def test_a_list_without_dependencies_left_is_written_as_empty() -> None:
    document = groups()
    document.rewire(document.named("A")[0], {"B": None, "C": None})
    document.rewire(document.named("B")[0], {"A": None, "C": None})
    assert document.result().count("dependencies: []\n") == 2


def test_what_has_no_dependencies_is_not_rewired() -> None:
    document = groups()
    document.rewire(document.named("C")[0], {"A": "X"})
    document.rewire(document.named("B")[0], {})
    assert document.result() == GROUPS


def test_a_number_changes_inside_of_its_expression() -> None:
    document = groups()
    document.renumber(document.named("A")[0], "port", 7100, 7200)
    document.renumber(document.named("A")[0], "health_port", 8100, 8200)
    text = document.result()
    assert "port: ${PORT_OFFSET}+7200\n" in text
    assert "health_check_port: 8200\n" in text


@pytest.mark.parametrize(("name", "field", "old"), [("A", "port", 7101), ("B", "health_port", 1)])
def test_a_number_that_does_not_stand_there_is_refused(name: str, field: str, old: int) -> None:
    document = groups()
    with pytest.raises(FleetInvalid, match="by hand"):
        document.renumber(document.named(name)[0], field, old, 9)


def test_fields_are_added_in_the_style_of_the_entry() -> None:
    document = listed()
    for entry in document.entries[:3]:
        document.add_fields(entry, {"note": "x, y", "n": 1})
    document.add_fields(document.entries[3], {})
    text = document.result()
    assert "      dependencies: [B],\n      note: 'x, y',\n      n: 1,\n    }\n" in text
    assert "  - { name: B, port: 2, note: 'x, y', n: 1 }\n" in text
    assert "    dependencies: []\n    note: 'x, y'\n    n: 1\n" in text
    assert all(item["note"] == "x, y" for item in yaml.safe_load(text)["pc2_services"])


def test_fields_can_be_added_below_an_empty_one_and_at_the_end_of_the_text() -> None:
    document = LegacyText("core_services:\n  - name: A\n    port:")
    document.add_fields(document.entries[0], {"x": 1})
    assert yaml.safe_load(document.result()) == {"core_services": [{"name": "A", "port": None, "x": 1}]}


def test_new_entries_stand_above_the_first_one_in_its_style() -> None:
    fields = {"name": "S", "port": 5, "aliases": ["A", "B"]}
    for text, expected in (
        (GROUPS, "  core:\n    # new\n    S:\n      port: 5\n      aliases: [A, B]\n    A:\n"),
        (
            LIST,
            "pc2_services:\n  # new\n  - {\n      name: S,\n      port: 5,\n"
            "      aliases: [A, B],\n    }\n  # first\n",
        ),
        ("agents:\n- name: A\n", "agents:\n# new\n- name: S\n  port: 5\n  aliases: [A, B]\n- name: A\n"),
    ):
        document = LegacyText(text)
        document.insert_entries([fields], comment="new")
        assert expected in document.result()
        yaml.safe_load(document.result())


def test_an_entry_can_be_removed_where_new_ones_are_inserted() -> None:
    document = groups()
    document.remove(document.entries[0])
    document.insert_entries([{"name": "S", "port": 5}], comment="new")
    assert list(yaml.safe_load(document.result())["agent_groups"]["core"]) == ["S", "B"]


def test_inserting_nothing_changes_nothing() -> None:
    document = groups()
    document.insert_entries([], comment="new")
    assert document.result() == GROUPS


@pytest.mark.parametrize("text", ["a: 1\n", "agents: [{name: A, port: 1}]\n"])
def test_services_need_a_block_of_agents_to_stand_in(text: str) -> None:
    with pytest.raises(FleetInvalid, match="no block"):
        LegacyText(text).insert_entries([{"name": "S"}], comment="new")


def test_an_entry_of_a_one_line_list_is_not_removed() -> None:
    document = LegacyText("agents: [{name: A, port: 1}]\n", "f.yaml")
    with pytest.raises(FleetInvalid, match=r"f\.yaml:1: A stands"):
        document.remove(document.entries[0])
    assert document.comments(document.entries[0]) == []


def test_different_edits_of_a_shared_anchor_are_refused() -> None:
    document = LegacyText(
        "agents:\n- {name: A, dependencies: &d [X]}\n- {name: B, dependencies: *d}\n", "f.yaml"
    )
    document.rewire(document.entries[0], {"X": "Y"})
    document.rewire(document.entries[1], {"X": "Z"})
    with pytest.raises(FleetInvalid, match=r"f\.yaml:2: two changes"):
        document.result()


def test_the_same_edit_of_a_shared_anchor_is_made_once() -> None:
    document = LegacyText("agents:\n- {name: A, dependencies: &d [X]}\n- {name: B, dependencies: *d}\n")
    for entry in document.entries:
        document.rewire(entry, {"X": "Y"})
    assert document.result() == "agents:\n- {name: A, dependencies: &d [Y]}\n- {name: B, dependencies: *d}\n"


def test_comments_of_an_entry_say_what_they_stand_beside() -> None:
    document = groups()
    assert document.comments(document.entries[0]) == ["script_path: a.py  # why", "- B  # keep me", "below A"]


@pytest.mark.parametrize("text", ["a: [", "- a\n", ""])
def test_what_is_no_startup_file_is_refused(text: str) -> None:
    with pytest.raises(FleetInvalid, match=r"bad\.yaml"):
        LegacyText(text, "bad.yaml")


def test_an_item_without_a_name_is_no_entry() -> None:
    assert LegacyText("agents:\n- port: 1\n- text\n").entries == ()
