"""SQLite files that several processes open."""

import pytest

from tests.unit.agent_audit.conftest import Audit
from zejzl_ray.agent_audit.finding import Level

RULE = "sqlite-shared"
MAIN = "\nif __name__ == '__main__':\n    main()\n"

STARTING = [
    "import sqlite3, multiprocessing as mp\nsqlite3.connect('a.db')\nmp.Process(target=f).start()",
    "import sqlite3\nfrom concurrent.futures import ProcessPoolExecutor\nProcessPoolExecutor()\nsqlite3.connect(path)",
    "import aiosqlite, os\nos.fork()\nasync def f():\n    await aiosqlite.connect('a.db')",
    "import sqlalchemy, multiprocessing\nmultiprocessing.Pool(3)\nsqlalchemy.create_engine('sqlite:///a.db')",
]
SINGLE = [
    "import sqlite3\nsqlite3.connect('a.db')\nsqlite3.connect('a.db')",
    "import sqlite3, multiprocessing as mp\nsqlite3.connect(':memory:')\nmp.Process(target=f).start()",
    "import sqlite3, multiprocessing as mp\nsqlite3.connect('file:a.db?mode=ro', uri=True)\nmp.Pool(2)",
    "import sqlalchemy, multiprocessing\nmultiprocessing.Pool(3)\nsqlalchemy.create_engine('postgresql://db')",
    "import sqlalchemy, multiprocessing\nmultiprocessing.Pool(3)\nsqlalchemy.create_engine('sqlite://')",
    "import sqlite3, subprocess\nsqlite3.connect('a.db')\nsubprocess.run(['ls'])",
]


@pytest.mark.parametrize("text", STARTING)
def test_a_file_beside_the_start_of_processes_is_an_error(audit: Audit, text: str) -> None:
    (found,) = audit(text, rule=RULE)
    assert found.level is Level.ERROR
    assert "starts processes" in found.message


@pytest.mark.parametrize("text", SINGLE)
def test_what_one_process_opens_is_fine(audit: Audit, text: str) -> None:
    assert audit(text, rule=RULE) == []


def test_workers_of_ray_that_open_one_file_are_a_warning(audit: Audit) -> None:
    text = (
        "import ray, sqlite3\n@ray.remote(num_cpus=1)\nclass A:\n  def f(self):\n    sqlite3.connect('a.db')"
    )
    assert [finding.level for finding in audit(text, rule=RULE)] == [Level.WARNING]


@pytest.mark.parametrize(
    "second",
    [
        "from sqlite3 import connect\nconnect('data/a.db')",
        "import sqlite3\nDB = 'data/a.db'\ndef f():\n    sqlite3.connect(DB)",
        "import sqlite3\nfrom pathlib import Path\nsqlite3.connect(Path('data') / 'a.db')",
        "import sqlite3, os\nsqlite3.connect(os.path.join('data', 'a.db'))",
        "import sqlite3\nclass A:\n  def __init__(self):\n    self.path = './data/a.db'\n  def f(self):\n"
        "    sqlite3.connect(self.path)",
        "import sqlalchemy\nsqlalchemy.create_engine('sqlite+pysqlite:///data/a.db?timeout=5')",
    ],
)
def test_two_programs_that_open_one_file_are_found_in_both(audit: Audit, second: str) -> None:
    first = "import sqlite3\nsqlite3.connect('data/a.db')"
    mild = audit(first, second, rule=RULE)
    assert [(finding.path, finding.level) for finding in mild] == [("a.py", "warning"), ("b.py", "warning")]
    bad = audit(first + MAIN, second + MAIN, rule=RULE)
    assert [finding.level for finding in bad] == [Level.ERROR, Level.ERROR]
    assert "'data/a.db' is opened here and in b.py:" in bad[0].message


@pytest.mark.parametrize(
    "second",
    [
        "import sqlite3\nsqlite3.connect('data/b.db')",
        "import sqlite3\ndef f(path):\n    sqlite3.connect(path)",
        "import sqlite3\nsqlite3.connect(f'data/{name}.db')",
        "import sqlite3\nsqlite3.connect(unknown)",
        "import sqlite3\nsqlite3.connect(thing.path)",
        "import sqlite3\nsqlite3.connect(3)",
        "import sqlite3\np = p\nsqlite3.connect(p)",
        "import sqlite3\nsqlite3.connect()",
        "import sqlite3\nsqlite3.connect(make('data/a.db'))",
        "import sqlite3\n@cached\ndef f():\n    sqlite3.connect(name.path)",
    ],
)
def test_other_files_and_unknown_ones_are_nobody_elses(audit: Audit, second: str) -> None:
    assert audit("import sqlite3\nsqlite3.connect('data/a.db')", second, rule=RULE) == []
