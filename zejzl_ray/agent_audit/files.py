"""Which files an audit looks at."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from zejzl_ray.errors import InvalidInput

MAX_FILES: Final = 20_000
_SUFFIXES: Final = frozenset({".py", ".pyw"})
_SKIPPED: Final = frozenset({"__pycache__", "node_modules", "site-packages"})


def python_files(paths: Sequence[Path], max_files: int = MAX_FILES) -> list[Path]:
    """Return the Python files that these paths are or hold, each once, in the order of their names.

    A named file counts whatever its suffix, but notebooks do not. In folders, hidden ones, caches and virtual
    environments are left out. Links are followed, once.

    Raises:
        InvalidInput: a path does not exist or is a notebook, there is no Python file, or there are too many.
    """
    found: dict[tuple[int, int], Path] = {}
    for path in paths:
        try:
            path.stat()
        except OSError as error:
            raise InvalidInput(f"{path}: {error.strerror}.", "Name a Python file or a folder.") from None
        if path.suffix == ".ipynb":
            raise InvalidInput(
                f"{path} is a notebook; they are not looked at.", "Name a Python file or a folder."
            )
        for file in _below(path) if _is_folder(path) else [path]:
            found.setdefault(_identity(file), file)
            if len(found) > max_files:
                raise InvalidInput(
                    f"There are more than {max_files} Python files below {path}.", "Name a smaller folder."
                )
    if not found:
        raise InvalidInput(
            f"No Python file in {', '.join(map(str, paths))}.",
            "Name a Python file or a folder that holds some.",
        )
    return list(found.values())


def _below(top: Path) -> Iterator[Path]:
    seen = {_identity(top)}
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            entries = sorted(folder.iterdir())
        except OSError:  # no right to look into it; named by itself it is an error
            if folder == top:
                raise InvalidInput(f"{top} cannot be read.", "Check its rights.") from None
            continue
        folders = []
        for entry in entries:
            if _is_folder(entry):
                if _is_wanted(entry) and (identity := _identity(entry)) not in seen:
                    seen.add(identity)
                    folders.append(entry)
            elif entry.suffix in _SUFFIXES:
                yield entry
        waiting.extend(reversed(folders))


def _is_folder(entry: Path) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # in a folder that nobody may look into
        return False


def _is_wanted(folder: Path) -> bool:
    is_skipped = folder.name.startswith(".") or folder.name in _SKIPPED or folder.name.endswith(".egg-info")
    return not is_skipped and not _is_environment(folder)


def _is_environment(folder: Path) -> bool:
    try:
        return (folder / "pyvenv.cfg").exists()
    except OSError:
        return False


def _identity(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:  # a broken link: the reader says so
        status = path.lstat()
    return status.st_dev, status.st_ino
