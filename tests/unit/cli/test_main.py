"""The command itself: exit codes, and one line in place of a traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

from zejzl_ray.cli import main as cli
from zejzl_ray.errors import ClusterError, FleetInvalid
from zejzl_ray.version import __version__


@pytest.fixture(autouse=True)
def not_debugging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZEJZL_LOG_LEVEL", raising=False)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["zejzl", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert isinstance(caught.value.code, int)
    return caught.value.code


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)


def test_version_prints_the_version(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "version") == 0
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize("arguments", [["no-such-command"], ["status", "--no-such-option"]])
def test_wrong_usage_is_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert run(monkeypatch, *arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_failed_command_is_one_line_and_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, ClusterError("No [/cluster] is up.", "Start it " + "x" * 200))
    assert run(monkeypatch) == 1
    shown = capsys.readouterr()
    assert shown.err == f"error: No [/cluster] is up. Start it {'x' * 200}\n"
    assert shown.out == ""


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("f.yaml:1:2: error: A.\nf.yaml:3:4: error: B.", "f.yaml:1:2: error: A.\nf.yaml:3:4: error: B.\n"),
        ("f.yaml:1:2: error: A.", "f.yaml:1:2: error: A.\n"),
        ("No fleet file.", "error: No fleet file.\n"),
    ],
)
def test_findings_are_one_a_line_and_called_errors_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], message: str, shown: str
) -> None:
    failing(monkeypatch, FleetInvalid(message))
    assert run(monkeypatch) == 1
    assert capsys.readouterr().err == shown


def test_an_interruption_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    failing(monkeypatch, KeyboardInterrupt())
    assert run(monkeypatch) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_an_interruption_of_a_command_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("typer.echo", interrupted)
    assert run(monkeypatch, "version") == 130


def test_an_unforeseen_error_is_told_without_traceback_and_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, KeyError("Bearer hunter2"))
    assert run(monkeypatch) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("internal error: KeyError: 'Bearer [hidden]'\n")
    assert "ZEJZL_LOG_LEVEL=DEBUG" in shown
    assert "frames" not in shown


def test_its_place_is_shown_when_debugging(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZEJZL_LOG_LEVEL", "DEBUG")
    failing(monkeypatch, KeyError("Bearer hunter2"))
    assert run(monkeypatch) == 1
    shown = capsys.readouterr().err
    assert "frames" in shown
    assert "hunter2" not in shown


def test_the_module_can_be_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "zejzl_ray.cli.main", "version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"{__version__}\n")
