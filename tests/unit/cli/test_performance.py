"""``zejzl performance``: what is asked for and what is shown."""

import json

import pytest
from typer.testing import CliRunner, Result

from zejzl_ray.cli import performance
from zejzl_ray.cli.main import app
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.health import GetHealth
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.performance import (
    Bottleneck,
    BottleneckKind,
    GetPerformance,
    Performance,
    PerformanceRow,
    ReportingHost,
    Times,
    Window,
)
from zejzl_ray.errors import InvalidInput, ServiceUnavailable, ZejzlError

TIMES = Times(count=9, avg_ms=1, min_ms=0.1, max_ms=9, p50_ms=0.512, p95_ms=2.25, p99_ms=8.125)
ROW = PerformanceRow(
    agent="NLU [x]\x1b",
    message_type="task",
    machine="mainpc",
    sent_per_s=12.34,
    received_per_s=5.61,
    failed=2,
    dead=3,
    dropped=4,
    latency=TIMES,
)


def answer(**fields: object) -> Performance:
    values: dict[str, object] = {
        "window": Window.MINUTE,
        "at_s": 1.0,
        "seconds": 58.2,
        "rows": (ROW,),
        "total": ROW,
        "hosts": (ReportingHost(host="h1", machine="mainpc", last_report_at_s=1, is_silent=False),),
    }
    return Performance.model_validate(values | fields)


class FakeClient:
    """Answers what the hub would; an exception is raised."""

    def __init__(self) -> None:
        self.answers: list[Contract | BaseException] = [answer()]
        self.asked: list[GetPerformance] = []
        self.is_closed = False

    def __enter__(self) -> "FakeClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.is_closed = True

    def call(self, operation: Operation, request: GetPerformance) -> Contract:
        assert operation.name == "get_performance"
        self.asked.append(request)
        found = self.answers.pop(0)
        if isinstance(found, BaseException):
            raise found
        return found


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    fake = FakeClient()
    monkeypatch.setattr(performance, "connect", lambda: fake)
    monkeypatch.setattr(performance, "_pause", lambda seconds: None)
    return fake


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["performance", *arguments])


def test_a_table_shows_rates_quantiles_and_losses(client: FakeClient) -> None:
    result = run()
    assert result.exit_code == 0
    for expected in ("last minute (58 s)", "NLU [x]?", "12.3", "5.6", "0.512", "2.25", "8.12", "all"):
        assert expected in result.stdout
    assert client.is_closed
    assert client.asked == [GetPerformance(limit=50)]


def test_filters_window_and_grouping_are_passed_on(client: FakeClient) -> None:
    result = run(
        "--agent", "a", "--type", "t", "--machine", "m", "--by", "series", "--window", "start", "-n", "7"
    )  # fmt: skip
    assert client.asked[0].model_dump() == {
        "agent": "a", "message_type": "t", "machine": "m", "by": "series", "window": "start", "limit": 7,
    }  # fmt: skip
    for expected in ("machine", "agent", "type", "mainpc", "task"):
        assert expected in result.stdout


@pytest.mark.parametrize("by", ["type", "machine", "agent"])
def test_every_grouping_has_its_own_column(client: FakeClient, by: str) -> None:
    assert by in run("--by", by).stdout


def test_what_is_wrong_is_told_below_the_table(client: FakeClient) -> None:
    slow = Bottleneck(kind=BottleneckKind.SLOWING, agent="nlu", message_type="task", impact=80, reason="slow")
    silent = ReportingHost(host="h9", machine="pc2", last_report_at_s=1, is_silent=True)
    client.answers = [answer(bottlenecks=(slow,), hosts=(silent,), rows_left_out=3, folded=2)]
    told = run().stdout
    for expected in (
        "bottleneck: nlu task: slow (impact 80 %)",
        "silent for a minute: h9",
        "3 more rows",
        "2 times",
    ):
        assert expected in told


def test_without_hosts_it_says_so(client: FakeClient) -> None:
    client.answers = [answer(rows=(), hosts=(), total=PerformanceRow())]
    told = run().stdout
    assert "no host of agents has reported yet" in told
    assert "all" not in told


def test_json_is_the_answer_itself(client: FakeClient) -> None:
    assert Performance.model_validate(json.loads(run("--json").stdout)) == answer()


def test_watching_goes_on_while_the_hub_is_away(client: FakeClient) -> None:
    client.answers = [answer(), ServiceUnavailable("the hub is away"), answer(), KeyboardInterrupt()]
    result = run("--watch")
    assert result.exit_code == 130
    assert len(client.asked) == 4
    assert client.is_closed


def test_watching_as_json_writes_a_line_for_each_look(client: FakeClient) -> None:
    client.answers = [answer(), answer(seconds=60.0), KeyboardInterrupt()]
    lines = run("--watch", "--json").stdout.strip().splitlines()
    assert [json.loads(line)["seconds"] for line in lines] == [58.2, 60.0]


def test_a_name_that_is_too_long_is_refused_before_anybody_is_asked(client: FakeClient) -> None:
    result = run("--agent", "x" * 300)
    assert isinstance(result.exception, InvalidInput)
    assert client.asked == []


def test_an_answer_of_another_kind_is_an_error(client: FakeClient) -> None:
    client.answers = [GetHealth()]
    assert isinstance(run().exception, ZejzlError)
