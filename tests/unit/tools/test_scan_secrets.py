"""The secret scan finds what it should, in the form that a real leak has; every secret here is put together at run."""

import subprocess
from pathlib import Path

import pytest

from tools.scan_secrets import BASELINE, ROOT, files_of, main, own_credentials

PASSWORD_LINE = 'pass' + 'word = "Tr0ub4dor-and-3-horses"\n'  # fmt: skip
PROVIDER_KEY = "AKIA" + "IOSFODNN7EXAMPLQ"
CREDENTIALS = [
    f"{start}_{'0f' * 32}" for start in (f"zk_{'ab' * 8}", "zs_service.error_bus", f"zr_{'cd' * 16}")
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "tests").mkdir()
    (tmp_path / ".gitignore").write_text("ignored.py\n")
    (tmp_path / "clean.py").write_text("answer = 42\n")
    return tmp_path


def test_a_tree_without_secrets_passes(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], tree) == 0
    assert "no secret" in capsys.readouterr().out


def test_a_secret_is_named_by_its_place_and_not_shown(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "ignored.py").write_text(PASSWORD_LINE)
    (tree / "leak.py").write_text("first = 1\n" + PASSWORD_LINE)
    assert main([], tree) == 1
    said = capsys.readouterr().err
    assert "leak.py:2: " in said
    assert "ignored.py" not in said
    assert "horses" not in said


def test_what_was_looked_at_is_in_the_baseline_and_further_ones_are_not(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "known.py").write_text(PASSWORD_LINE)
    assert main(["--update"], tree) == 0
    assert str(tree) not in (tree / BASELINE).read_text()
    assert "horses" not in (tree / BASELINE).read_text()
    (tree / "known.py").write_text("\n\n" + PASSWORD_LINE)  # elsewhere in its file it is still the same
    assert main([], tree) == 0
    (tree / "other.py").write_text(PASSWORD_LINE)
    assert main([], tree) == 1
    assert "other.py:1: " in capsys.readouterr().err


def test_tests_may_invent_passwords_but_hold_no_providers_key(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "tests" / "test_it.py").write_text(PASSWORD_LINE)
    assert main([], tree) == 0
    (tree / "tests" / "test_it.py").write_text(f'key = "{PROVIDER_KEY}"\n')
    assert main([], tree) == 1
    assert "tests/test_it.py:1: AWS Access Key" in capsys.readouterr().err


def test_documents_may_speak_of_passwords_but_hold_no_key(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "page.md").write_text(f"The {PASSWORD_LINE}")
    assert main([], tree) == 0
    (tree / "page.md").write_text(f"Use {PROVIDER_KEY}.\n")
    assert main([], tree) == 1
    assert "page.md:1: AWS Access Key" in capsys.readouterr().err


@pytest.mark.parametrize("text", CREDENTIALS, ids=["caller", "service", "refresh"])
@pytest.mark.parametrize("name", ["notes.md", "tests/test_it.py", "config.yaml"])
def test_the_projects_own_credentials_are_harmless_nowhere(tree: Path, name: str, text: str) -> None:
    (tree / name).write_text(f"one\ntwo: {text}\n")
    assert own_credentials(tree, [name]) == [f"{name}:2: credential of zejzl-ray"]


def test_without_git_every_file_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "made.py").write_text("")
    (tmp_path / "own.py").write_text("")
    assert files_of(tmp_path) == ["own.py"]


def test_the_project_has_a_baseline_without_a_path_of_one_machine() -> None:
    text = (ROOT / BASELINE).read_text(encoding="utf-8")
    assert '"results"' in text
    assert "file://" not in text
