"""Files that are no plain Python source."""

import os
from pathlib import Path

import pytest

from zejzl_ray.agent_audit.auditor import audit_paths
from zejzl_ray.agent_audit.finding import Finding
from zejzl_ray.agent_audit.module import Module
from zejzl_ray.agent_audit.source import UNREADABLE, parse_module, read_module


@pytest.mark.parametrize(
    ("data", "line", "told"),
    [
        (b"x = 1\ndef f(:\n", 2, "no Python that can be parsed"),
        (b"print 'old'\n", 1, "no Python that can be parsed"),
        (b"x = 1\ny = '\xff\xfe'\n", 2, "no utf-8"),
        (b"# \xc3\xa4\n#\nx = 1\ny = '\xff'\n", 4, "no utf-8"),
        (b"# coding: klingon\n", 1, "encoding is not known"),
        (b"x = '\0'\n", 1, "null bytes"),
        (b"x = " + b"(" * 500 + b")" * 500, 1, "pars"),
        (b"x = " + b"-" * 100_000 + b"1", 1, "parsed"),
    ],
)
def test_what_cannot_be_parsed_is_a_finding_with_its_line(data: bytes, line: int, told: str) -> None:
    found = parse_module(data, "a.py")
    assert isinstance(found, Finding)
    assert (found.rule, found.line) == (UNREADABLE, line)
    assert told in found.message


@pytest.mark.parametrize(
    "data",
    [
        "# coding: latin-1\nx = 'ä'\n".encode("latin-1"),
        b"\xef\xbb\xbfx = 1\r\ny = 2\r\n",
        b"x = '\\d'\n",
        b"",
        b"\x0cx = 1\n",
    ],
)
def test_any_declared_encoding_and_line_ending_can_be_read(data: bytes) -> None:
    assert isinstance(parse_module(data, "a.py"), Module)


def test_a_file_above_the_bound_and_what_is_no_file_are_told(tmp_path: Path) -> None:
    large, pipe, gone = tmp_path / "large.py", tmp_path / "pipe.py", tmp_path / "gone.py"
    large.write_text("x = 1\n" * 10)
    os.mkfifo(pipe)
    assert isinstance(read_module(large, "large.py", max_bytes=60), Module)
    for path, told in ((large, "more than 59 bytes"), (pipe, "no regular file"), (gone, "cannot be read")):
        found = read_module(path, path.name, max_bytes=59)
        assert isinstance(found, Finding)
        assert told in found.message


def test_code_that_nests_deep_is_looked_at_without_a_crash(tmp_path: Path) -> None:
    (tmp_path / "sum.py").write_text("x = " + " + ".join(["1"] * 900) + "\n")
    (tmp_path / "chain.py").write_text("x = a" + ".b()" * 900 + ".recv()\n")
    (tmp_path / "text.py").write_text("x = " + "[" * 90 + "]" * 90 + "\n")
    report = audit_paths([tmp_path])
    assert report.files == 3
    assert {finding.rule for finding in report.findings} <= {"receive-without-time-limit"}


def test_nothing_of_an_audited_file_runs(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    assert audit_paths([tmp_path]).findings == ()
    assert not (tmp_path / "ran").exists()


def test_columns_are_counted_in_characters(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import asyncio\nä = 'äöü'; q = asyncio.Queue()\n")
    (found,) = audit_paths([tmp_path / "a.py"]).findings
    assert (found.line, found.column) == (2, 16)
