"""Which files are looked at."""

import os
from pathlib import Path

import pytest

from zejzl_ray.agent_audit.files import python_files
from zejzl_ray.errors import InvalidInput


def made(folder: Path, *names: str) -> Path:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"# {name}\n")
    return folder


def names(folder: Path, *paths: Path) -> list[str]:
    return [file.relative_to(folder).as_posix() for file in python_files(paths or [folder])]


def test_a_folder_gives_its_python_files_in_order_and_leaves_out_what_is_not_its_own(tmp_path: Path) -> None:
    made(
        tmp_path, "b.py", "a.py", "sub/c.pyw", "notes.md", "n.ipynb", ".git/x.py", "__pycache__/x.py",
        "env/pyvenv.cfg", "env/x.py", "node_modules/x.py", "own.egg-info/x.py", "lib/site-packages/x.py",
    )  # fmt: skip
    assert names(tmp_path) == ["a.py", "b.py", "sub/c.pyw"]


def test_a_named_file_counts_whatever_its_suffix_and_once(tmp_path: Path) -> None:
    made(tmp_path, "agent", "a.py")
    assert names(tmp_path, tmp_path / "agent", tmp_path / "a.py", tmp_path) == ["agent", "a.py"]


def test_links_in_a_circle_end_and_a_linked_folder_is_seen_once(tmp_path: Path) -> None:
    made(tmp_path, "top/a.py", "other/b.py")
    (tmp_path / "top" / "again").symlink_to(tmp_path / "top")
    (tmp_path / "top" / "other").symlink_to(tmp_path / "other")
    (tmp_path / "top" / "other2").symlink_to(tmp_path / "other")
    (tmp_path / "top" / "self.py").symlink_to(tmp_path / "top" / "self.py")
    (tmp_path / "top" / "gone.py").symlink_to(tmp_path / "nowhere.py")
    assert names(tmp_path, tmp_path / "top") == ["top/a.py", "top/gone.py", "top/self.py", "top/other/b.py"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nowhere", "No such file"),
        ("n" * 300, "too long"),
        ("n.ipynb", "notebook"),
        ("empty", "No Python file"),
    ],
)
def test_what_holds_nothing_to_look_at_is_an_error(tmp_path: Path, name: str, told: str) -> None:
    made(tmp_path, "n.ipynb", "empty/notes.md")
    with pytest.raises(InvalidInput, match=told) as caught:
        python_files([tmp_path / name])
    assert caught.value.remedy


def test_more_files_than_allowed_are_an_error(tmp_path: Path) -> None:
    made(tmp_path, "a.py", "b.py", "c.py")
    with pytest.raises(InvalidInput, match="more than 2 Python files"):
        python_files([tmp_path], max_files=2)


def test_a_folder_that_cannot_be_read_is_an_error_where_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path, "a.py", "shut/b.py")
    listed = os.listdir

    def refuse(path: Path) -> list[str]:
        if Path(path).name == "shut":
            raise PermissionError
        return listed(path)

    monkeypatch.setattr(os, "listdir", refuse)  # what pathlib asks; the one who tests may be root
    assert names(tmp_path) == ["a.py"]
    with pytest.raises(InvalidInput, match="cannot be read"):
        python_files([tmp_path / "shut"])


def test_what_may_not_even_be_asked_about_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path, "a.py", "odd/b.py", "shut/c.py")
    is_dir, exists = Path.is_dir, Path.exists

    def ask(path: Path) -> bool:
        if path.name == "odd":
            raise PermissionError
        return is_dir(path)

    def look(path: Path) -> bool:
        if path.parent.name == "shut":
            raise PermissionError
        return exists(path)

    monkeypatch.setattr(Path, "is_dir", ask)
    monkeypatch.setattr(Path, "exists", look)
    assert names(tmp_path) == ["a.py", "shut/c.py"]
