"""Pictures of the dependencies."""

import shutil

import pytest

from zejzl_ray.fleet.consolidation_files import render_svg
from zejzl_ray.fleet.model import AgentDeclaration, Fleet, ServiceDeclaration
from zejzl_ray.fleet.picture import graphviz, mermaid
from zejzl_ray.testing.fleets import agent, fleet_of

CORE = ServiceDeclaration(name="core", home="mainpc", port=7000)


def test_every_member_and_every_dependency_is_drawn(old_fleet: Fleet) -> None:
    edges = sum(len(one.dependencies) for one in old_fleet.agents.values())
    for text, arrow in ((mermaid(old_fleet), "-->"), (graphviz(old_fleet), "->")):
        assert all(name in text for name in old_fleet.agents)
        assert text.count(f" {arrow} ") == edges


def test_services_and_highlighted_agents_have_their_own_look() -> None:
    fleet = fleet_of(agent("A", "core"), agent("B", "A"), services=(CORE,))
    text = mermaid(fleet, highlight={"A"})
    assert '"core :7000"]:::service' in text
    assert '"A"]:::highlight' in text
    assert '"B"]:::plain' in text
    assert "linkStyle 0,1 " in text


def test_only_edges_into_plain_members_need_no_link_style() -> None:
    assert "linkStyle" not in mermaid(fleet_of(agent("A", "B"), agent("B")))


def test_members_are_grouped_by_machine_and_group() -> None:
    anywhere = AgentDeclaration(name="Anywhere")
    text = graphviz(fleet_of(agent("A", group="speech"), anywhere))
    assert 'label="mainpc"' in text
    assert 'label="speech"' in text
    assert 'label="any machine"' in text
    assert 'label="pc2"' not in text


def test_what_a_language_gives_a_meaning_to_is_escaped() -> None:
    fleet = fleet_of(agent("A", group='odd "group" \\'))
    assert 'label="odd \\"group\\" \\\\"' in graphviz(fleet, title='a "title"')
    assert "odd #quot;group#quot;" in mermaid(fleet, title='a "title"')


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_accepts_the_picture(old_fleet: Fleet) -> None:
    svg = render_svg(graphviz(old_fleet, title="before", highlight={"HealthMonitor"}))
    assert svg is not None
    assert svg.count("<title>n") == len(old_fleet.agents) + 7


def test_without_graphviz_there_is_no_svg(old_fleet: Fleet) -> None:
    assert render_svg(graphviz(old_fleet), environment={"PATH": "/nowhere"}) is None


def test_a_text_that_cannot_be_drawn_gives_no_svg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_args, **_kwargs: "/bin/false")
    assert render_svg("digraph {") is None
