"""``zejzl logs``: what is asked for, what is shown, and how following goes on."""

import json
from typing import Any

import pytest
from pydantic import JsonValue
from typer.testing import CliRunner, Result

from zejzl_ray.cli import logs
from zejzl_ray.cli import main as cli_main
from zejzl_ray.cli.main import app
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.logs import FleetLogPage, LogLine, ReadFleetLogs
from zejzl_ray.contracts.observability_hub import SERVICE
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.services import BY_SERVICE
from zejzl_ray.errors import Forbidden, RateLimited, ServiceUnavailable, StoreError, ZejzlError


def line(event: str, level: str = "info", at_s: float = 0.25, **record: Any) -> LogLine:
    fields = {"timestamp": "t", "level": level, "event": event, "service": "hub", **record}
    return LogLine(at_s=at_s, machine="pc2", source="hub.log", level=level, record=fields)


def page(*lines: LogLine, cursor: str = "c", **more: Any) -> FleetLogPage:
    return FleetLogPage(lines=lines, cursor=cursor, **more)


class FakeHub:
    """Answers with what a test has prepared; after that somebody presses Ctrl-C."""

    def __init__(self) -> None:
        self.answers: list[Contract | ZejzlError] = []
        self.requests: list[ReadFleetLogs] = []
        self.pauses: list[float] = []
        self.is_closed = False

    def __enter__(self) -> "FakeHub":
        return self

    def __exit__(self, *_: object) -> None:
        self.is_closed = True

    def call(self, operation: Operation, request: Contract, *, timeout_s: float) -> Contract:
        assert operation is BY_SERVICE[SERVICE]["read_logs"]
        assert isinstance(request, ReadFleetLogs)
        self.requests.append(request)
        if not self.answers:
            raise KeyboardInterrupt
        answer = self.answers.pop(0)
        if isinstance(answer, ZejzlError):
            raise answer
        return answer


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub()
    monkeypatch.setattr(logs, "connect", lambda: fake)
    monkeypatch.setattr(logs, "_pause", fake.pauses.append)
    return fake


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["logs", *arguments])


def test_lines_are_shown_for_people(hub: FakeHub) -> None:
    fault = {
        "exc_type": "ValueError",
        "exc_value": "no [/bold]",
        "frames": [{"filename": "a.py", "lineno": 7, "name": "f"}],
    }
    other = {"exc_type": "KeyError", "exc_value": "'k'"}
    raw_record: dict[str, JsonValue] = {"source": "raylet.out", "event": "raw"}
    hub.answers = [
        page(
            line("started", agent="Watchdog", request_id="r-1", rows=[1, 2], pid=5),
            line("x\x1b[31mred\nsecond", "error", 61.0, exception=[fault, other, "odd"]),
            LogLine(at_s=1e300, machine="pc2", source="raylet.out", level="warning", record=raw_record),
        )
    ]  # fmt: skip
    result = run()
    assert result.exit_code == 0
    assert hub.is_closed
    first, second, place, cause, raw = result.stdout.splitlines()
    assert first == "1970-01-01 00:00:00.250Z pc2/hub info     Watchdog: started request_id=r-1 rows=[1,2]"
    assert second == "1970-01-01 00:01:01.000Z pc2/hub error    x?[31mred second"
    assert (place, cause) == ("    ValueError: no [/bold] (a.py:7 in f)", "    KeyError: 'k'")
    assert raw == "1e+300 pc2/raylet.out warning  raw"


def test_with_json_each_line_is_what_was_written(hub: FakeHub) -> None:
    hub.answers = [page(line("one", extra={"a": 1}), line("two"), unread={"mainpc": "away"})]
    result = run("--json")
    first, second = (json.loads(text) for text in result.stdout.splitlines())
    assert (first["machine"], first["event"], first["extra"]) == ("pc2", "one", {"a": 1})
    assert second["event"] == "two"
    assert "not read: mainpc: away" in result.stderr


def test_filters_are_handed_on(hub: FakeHub) -> None:
    hub.answers = [page(is_cut=True)]
    result = run(
        "--agent", "Watchdog", "--service", "hub", "--machine", "pc2", "--level", "error", "--contains", "lost",
        "--since", "10m", "--limit", "7", "--source", "own",
    )  # fmt: skip
    assert result.exit_code == 0
    assert hub.requests == [
        ReadFleetLogs(
            agent="Watchdog", service="hub", machine="pc2", level="error", contains="lost", since_s=600, limit=7,
            source="own",
        )
    ]  # fmt: skip
    assert "narrow it" in result.stderr
    hub.answers = [page()]
    run()
    assert hub.requests[-1] == ReadFleetLogs()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("90", 90), ("10m", 600), ("1.5h", 5400), ("2d", 172800), (" 5m ", 300)],
)
def test_ages(text: str, seconds: float) -> None:
    assert logs.age_s(text) == seconds


@pytest.mark.parametrize(
    "arguments",
    [("--since", "soon"), ("--since", "-5m"), ("--since", "5w"), ("--level", "loud"), ("--limit", "0"),
     ("--machine", "../x"), ("--agent", "a" * 200), ("--contains", "c" * 300), ("--source", "other")],
)  # fmt: skip
def test_wrong_usage_asks_nobody(hub: FakeHub, arguments: tuple[str, str]) -> None:
    assert run(*arguments).exit_code == 2
    assert hub.requests == []


def test_following_goes_on_from_page_to_page_until_interrupted(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.answers = [
        page(line("one"), cursor="c1", has_more=True),
        page(line("two"), cursor="c2", unread={"mainpc": "away"}),
        page(cursor="c3", unread={"mainpc": "away"}),
        page(line("three"), cursor="c4"),
    ]
    monkeypatch.setattr("sys.argv", ["zejzl", "logs", "--follow", "--since", "1h", "--json"])
    with pytest.raises(SystemExit) as ended:
        cli_main.main()
    assert ended.value.code == 130
    shown = capsys.readouterr()
    assert [json.loads(text)["event"] for text in shown.out.splitlines()] == ["one", "two", "three"]
    assert shown.err.count("not read: mainpc: away") == 1
    assert [request.cursor for request in hub.requests] == ["", "c1", "c2", "c3", "c4"]
    assert [request.since_s for request in hub.requests] == [3600, None, None, None, None]
    assert hub.pauses == [0.0, 1.0, 1.0, 1.0]
    assert hub.is_closed


def test_following_waits_for_a_hub_that_is_away_and_says_so_once(hub: FakeHub) -> None:
    away = ServiceUnavailable("hub is away")
    hub.answers = [
        page(cursor="c1"),
        away,
        away,
        RateLimited("too many", "", 4.0),
        page(line("back"), cursor="c2"),
    ]
    result = run("--follow")
    assert result.exit_code == 130
    assert "back" in result.stdout
    assert result.stderr.count("not read: hub is away") == 1
    assert "not read: too many" in result.stderr
    assert hub.pauses == [1.0, 2.0, 4.0, 4.0, 1.0]
    assert [request.cursor for request in hub.requests] == ["", "c1", "c1", "c1", "c1", "c2"]


def test_other_errors_end_it(hub: FakeHub) -> None:
    refused = Forbidden("not you")
    hub.answers = [page(), refused]
    assert run("--follow").exception is refused
    hub.answers = [ReadFleetLogs()]
    assert isinstance(run().exception, StoreError)
