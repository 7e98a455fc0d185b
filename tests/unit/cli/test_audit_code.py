"""``zejzl audit code``: what is printed, and the exit codes."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from zejzl_ray.cli.main import app

WAITS = "import requests\nrequests.get(url)\n"
GROWS = "import asyncio\nq = asyncio.Queue()\n"


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["audit", "code", *map(str, words)])


@pytest.mark.parametrize(
    ("text", "options", "code"),
    [
        ("x = 1\n", (), 0),
        (GROWS, (), 0),
        (GROWS, ("--strict",), 1),
        (WAITS, (), 1),
        ("x = 1\n", ("--strict",), 0),
    ],
)
def test_only_errors_fail_unless_asked_to_be_strict(
    tmp_path: Path, text: str, options: tuple[str, ...], code: int
) -> None:
    (tmp_path / "a.py").write_text(text)
    assert run(tmp_path, *options).exit_code == code


def test_a_finding_is_one_line_with_place_level_rule_and_remedy(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text(WAITS + GROWS)
    result = run(file)
    assert result.stdout.splitlines() == [
        f"{file}:2:1: error [receive-without-time-limit] requests.get waits for its reply for ever. "
        "Give timeout=(connect, read) in seconds.",
        f"{file}:4:5: warning [queue-unbounded] asyncio.Queue is made without an upper size. "
        "Give maxsize, and say what happens when it is full.",
    ]
    assert result.stderr == "1 files: 1 errors, 1 warnings, 0 ignored\n"


def test_json_is_one_document_with_one_finding_a_line(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(WAITS + GROWS)
    result = run(tmp_path, "--json")
    document = json.loads(result.stdout)
    assert {key: document[key] for key in ("files", "errors", "warnings", "ignored")} == {
        "files": 1, "errors": 1, "warnings": 1, "ignored": 0,
    }  # fmt: skip
    assert [json.loads(line.rstrip(",")) for line in result.stdout.splitlines()[1:-1]] == document["findings"]
    assert set(document["findings"][0]) == {"path", "line", "column", "rule", "level", "message", "remedy"}
    assert result.exit_code == 1


def test_json_without_findings_is_whole_too(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    assert json.loads(run(tmp_path, "--json").stdout)["findings"] == []


def test_several_paths_are_one_audit(tmp_path: Path) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("import sqlite3\nsqlite3.connect('one.db')\n")
    assert run(tmp_path / "a.py").stdout == ""
    assert run(tmp_path / "a.py", tmp_path / "b.py").stdout.count("[sqlite-shared]") == 2


def test_the_rules_are_listed_with_what_they_find(tmp_path: Path) -> None:
    listed = json.loads(run("--rules", "--json").stdout)["rules"]
    page = (Path(__file__).resolve().parents[3] / "docs" / "audit_code.md").read_text()
    shown = run("--rules")
    assert shown.exit_code == 0
    for rule in listed:
        assert rule["id"] in shown.stdout
        assert f"| `{rule['id']}` |" in page
        assert rule["summary"]
        assert rule["remedy"]
    assert len(listed) == 10


@pytest.mark.parametrize("words", [(), ("nowhere.py",), ("--wrong",)])
def test_wrong_usage_is_told_with_exit_code_2(words: tuple[str, ...]) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_names_cannot_speak_to_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "a\x1b[31m[bold].py").write_text(WAITS)
    shown = run(tmp_path).stdout
    assert "\x1b[31m" not in shown
    assert "a?[31m[bold].py:2:1" in shown
    assert "\\u001b" not in run(tmp_path, "--json").stdout
