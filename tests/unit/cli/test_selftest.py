"""What `zejzl selftest` shows; the trials themselves are tested beside them and on a real cluster."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from zejzl_ray.cli import selftest
from zejzl_ray.cli.main import app
from zejzl_ray.contracts.services import BY_SERVICE
from zejzl_ray.errors import ServiceUnavailable, ZejzlError
from zejzl_ray.selftest.trial import Outcome, Row

WELL = Row("error_bus", "health", Outcome.OK, "read", 1.25)
REFUSED = Row("error_bus", "stop", Outcome.REFUSED, "by a program without the right", 2.0, "forbidden")
BAD = Row("error_bus", "read_audit", Outcome.FAILED, "one entry", 3.0, "service_unavailable: [red]gone[/]")


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEJZL_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ZEJZL_HTTP_PORT", "1")
    (tmp_path / "token").write_text("zk_a_b")


def answer(monkeypatch: pytest.MonkeyPatch, *rows: Row) -> None:
    async def run_trials(*_: Any, **options: Any) -> list[Row]:
        assert not options["is_over_handles"]
        options["report"]("error_bus")
        return list(rows)

    monkeypatch.setattr(selftest, "run_trials", run_trials)


def test_it_succeeds_only_when_every_row_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, WELL, REFUSED)
    result = CliRunner().invoke(app, ["selftest"])
    assert result.exit_code == 0
    assert "refused as expected: forbidden" in result.stdout
    assert "2 operations: 1 ok, 1 refused as expected" in result.stderr
    answer(monkeypatch, WELL, BAD)
    result = CliRunner().invoke(app, ["selftest"])
    assert result.exit_code == 1
    assert "[red]gone[/]" in result.stdout


def test_json_goes_to_standard_output_and_progress_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, WELL, BAD)
    result = CliRunner().invoke(app, ["selftest", "--json"])
    told = json.loads(result.stdout)
    assert [each["is_well"] for each in told] == [True, False]
    assert (told[0]["operation"], told[0]["ms"], told[0]["outcome"]) == ("health", 1.25, "ok")
    assert "error_bus" in result.stderr


def test_calls_go_the_way_that_an_operation_has(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[type[ZejzlError], str]] = []

    async def run_trials(call: Any, *_: Any, is_auth_off: Any, **options: Any) -> list[Row]:
        for operation in (BY_SERVICE["error_bus"]["health"], BY_SERVICE["error_bus"]["stop"]):
            with pytest.raises(ZejzlError) as caught:
                await call(operation, operation.request(), None)
            seen.append((caught.type, caught.value.message))
        assert is_auth_off() is False
        return [WELL]

    monkeypatch.setattr(selftest, "run_trials", run_trials)
    monkeypatch.setenv("ZEJZL_ADDRESS", "ray")
    assert CliRunner().invoke(app, ["selftest"]).exit_code == 0
    assert [each[0] for each in seen] == [ServiceUnavailable, ServiceUnavailable]
    assert "127.0.0.1:1" in seen[0][1]
    assert "not connected to Ray" in seen[1][1]
