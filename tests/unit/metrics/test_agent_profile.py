"""Profiles of agents: scores that mean what they say."""

import pytest

from zejzl_ray.errors import NotFound
from zejzl_ray.metrics import agent_profile as module
from zejzl_ray.metrics.agent_profile import AgentProfiler, Metric, Recommendation
from zejzl_ray.metrics.counters import OTHER
from zejzl_ray.metrics.figures import MailFigures


@pytest.fixture
def profiler() -> AgentProfiler:
    return AgentProfiler()


def call(profiler: AgentProfiler, agent: str, *seconds: float, failed: int = 0) -> None:
    for position, each in enumerate(seconds):
        profiler.record_agent_call(agent, "worker", each, success=position >= failed)


def test_an_agent_is_slow_only_against_what_it_expects_of_itself(profiler: AgentProfiler) -> None:
    profiler.expect("llm", "thinker", expected_s=10)
    profiler.expect("cache", expected_s=0.001)
    for agent in ("llm", "cache", "free"):
        call(profiler, agent, 4.0)
    scores = {report.agent_name: report.scores.efficiency for report in profiler.reports()}
    assert scores == {"llm": 1.0, "cache": 0.1, "free": None}
    assert [each.agent_name for each in profiler.recommendations()] == ["cache"]


def test_agreement_is_no_mark_against_an_agent(profiler: AgentProfiler) -> None:
    for _ in range(4):
        profiler.record_conflict_participation("a", "judge", consensus_reached=True)
    assert profiler.report("a").scores.coordination == 1
    profiler.record_conflict_participation("a", consensus_reached=False)
    report = profiler.report("a")
    assert (report.scores.coordination, report.conflicts, report.consensus_reached) == (0.8, 5, 4)
    assert profiler.recommendations() == []
    profiler.record_conflict_participation("a", consensus_reached=False)
    assert profiler.recommendations() == [
        Recommendation("a", "coordination", "medium", "2 of 6 conflicts had no agreement")
    ]


def test_an_agent_with_messages_only_is_not_called_unreliable(profiler: AgentProfiler) -> None:
    profiler.record_message_sent("a", "quiet")
    profiler.record_message_received("a")
    report = profiler.report("a")
    assert report.success_rate is None
    assert (report.agent_role, report.messages_sent, report.messages_received) == ("quiet", 1, 1)
    assert profiler.under_performers(Metric.RELIABILITY) == []
    assert profiler.recommendations() == []


def test_efficiency_is_of_the_last_hundred_calls(profiler: AgentProfiler) -> None:
    profiler.expect("a", expected_s=1)
    call(profiler, "a", *[8.0] * 50)
    assert profiler.report("a").scores.efficiency == pytest.approx(1 / 8)
    call(profiler, "a", *[0.5] * 100)
    assert profiler.report("a").scores.efficiency == 1
    assert profiler.report("a").response_times.count == 150


def test_mail_is_taken_from_the_figures_of_the_bus(profiler: AgentProfiler) -> None:
    figures = MailFigures()
    series = figures.of("a", "task")
    series.sent[0] += 2
    series.received += 200
    series.failed += 50
    for _ in range(200):
        series.handling.record(2.0)
    figures.of("b", "task").sent[1] += 1
    profiler.expect("a", expected_s=1)
    profiler.take(figures.snapshot())
    report = profiler.report("a")
    assert (report.total_calls, report.failed_calls, report.success_rate) == (200, 50, 0.75)
    assert (report.messages_sent, report.messages_received) == (2, 200)
    assert report.scores.efficiency == pytest.approx(0.5)
    assert profiler.report("b").total_calls == 0
    assert [each.recommendation_type for each in profiler.recommendations()] == ["reliability", "performance"]


def test_the_best_and_the_worst_are_ranked_by_scores_of_now(profiler: AgentProfiler) -> None:
    for agent, failed in (("a", 0), ("b", 2), ("c", 4)):
        call(profiler, agent, *[0.1] * 5, failed=failed)
    profiler.record_message_sent("mute")
    best = profiler.top_performers(Metric.RELIABILITY, top_n=2)
    assert [each.agent_name for each in best] == ["a", "b"]
    worst = profiler.under_performers(Metric.RELIABILITY, threshold=0.7)
    assert [each.agent_name for each in worst] == ["c", "b"]
    assert [each.success_rate for each in worst] == pytest.approx([0.2, 0.6])
    assert profiler.top_performers(Metric.COORDINATION) == profiler.top_performers() == []


def test_trouble_of_the_whole_system_is_told_first(profiler: AgentProfiler) -> None:
    for agent, seconds in (("a", 1.0), ("b", 1.0), ("c", 5.0)):
        profiler.expect(agent, expected_s=1)
        call(profiler, agent, seconds, seconds, failed=1)
    found = profiler.recommendations()
    assert [(each.agent_name, each.recommendation_type) for each in found[:2]] == [
        ("", "performance"),
        ("", "reliability"),
    ]
    assert {each.priority for each in found} == {"high"}
    assert "3 of 3 agents" in found[1].description


def test_an_unknown_agent_is_an_error_and_their_number_is_bounded(
    profiler: AgentProfiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotFound, match="'x'"):
        profiler.report("x")
    monkeypatch.setattr(module, "MAX_AGENTS", 1)
    for agent in "abc":
        call(profiler, agent, 0.1)
    assert [each.agent_name for each in profiler.reports()] == [OTHER, "a"]
    assert profiler.report(OTHER).total_calls == 2


def test_speed_can_be_ranked_too(profiler: AgentProfiler) -> None:
    for agent, seconds in (("a", 0.5), ("b", 2.0)):
        profiler.expect(agent, expected_s=1)
        call(profiler, agent, seconds)
        profiler.record_conflict_participation(agent)
    assert [each.agent_name for each in profiler.top_performers()] == ["a", "b"]
    assert [each.agent_name for each in profiler.under_performers()] == ["b"]
    assert [each.scores.coordination for each in profiler.top_performers(Metric.COORDINATION)] == [1, 1]
