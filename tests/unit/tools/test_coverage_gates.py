import json
from pathlib import Path
from typing import Any

import pytest

from tools.coverage_gates import main, read_files, total


def entry(lines: int, lines_run: int, branches: int = 0, branches_run: int = 0) -> dict[str, Any]:
    return {
        "summary": {
            "num_statements": lines,
            "covered_lines": lines_run,
            "num_branches": branches,
            "covered_branches": branches_run,
        }
    }


def report(directory: Path, **files: dict[str, Any]) -> str:
    path = directory / "coverage.json"
    path.write_text(json.dumps({"files": {name.replace("__", "/"): value for name, value in files.items()}}))
    return str(path)


def test_both_bars_reached_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([report(tmp_path, zejzl_ray__a=entry(100, 95, 20, 19), actors__b=entry(100, 90))]) == 0
    assert "library: lines 95.0 %, branches 95.0 % (bar 95 %): reached" in capsys.readouterr().out


def test_branches_below_the_bar_fail_although_the_lines_reach_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([report(tmp_path, zejzl_ray__a=entry(100, 100, 100, 94))]) == 1
    said = capsys.readouterr().out
    assert "library: lines 100.0 %, branches 94.0 % (bar 95 %): BELOW" in said
    assert "whole: lines 100.0 %, branches 94.0 % (bar 90 %): reached" in said


def test_shells_count_for_the_whole_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([report(tmp_path, zejzl_ray__a=entry(100, 100), serve_apps__b=entry(100, 50))]) == 1
    said = capsys.readouterr().out
    assert "library: lines 100.0 %, branches 100.0 % (bar 95 %): reached" in said
    assert "whole: lines 75.0 %, branches 100.0 % (bar 90 %): BELOW" in said


def test_the_files_with_the_most_that_was_not_run_come_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = report(
        tmp_path, zejzl_ray__few=entry(10, 9), zejzl_ray__many=entry(50, 20), zejzl_ray__none=entry(5, 5)
    )
    assert main([path]) == 1
    said = capsys.readouterr().out
    assert said.index("zejzl_ray/many") < said.index("zejzl_ray/few")
    assert "zejzl_ray/none" not in said


def test_a_report_without_the_library_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([report(tmp_path, actors__b=entry(10, 10))]) == 2
    assert "were the tests run" in capsys.readouterr().err


def test_a_file_without_branches_is_all_taken() -> None:
    covered = total(read_files({"files": {"zejzl_ray/a": entry(0, 0)}}))
    assert (covered.lines_percent, covered.branches_percent, covered.missed) == (100.0, 100.0, 0)
