from contextlib import closing
from pathlib import Path

from zejzl_ray.store.sqlite_file import CACHE_KIB, open_database, open_reader


def test_each_connection_keeps_few_pages_in_memory_since_a_host_has_many(tmp_path: Path) -> None:
    path = tmp_path / "errors.sqlite3"
    with closing(open_database(path, "errors")) as writer, closing(open_reader(path)) as reader:
        for connection in (writer, reader):
            (size,) = connection.execute("PRAGMA cache_size").fetchone()
            assert size == -CACHE_KIB  # negative: KiB and not pages
    assert CACHE_KIB <= 1024
