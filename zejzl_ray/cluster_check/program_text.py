"""The modules of the remote program as one text, which any Python runs without the project beside it."""

import ast
from functools import cache
from pathlib import Path
from typing import Final

from zejzl_ray.cluster_check import remote

# Each after those that it imports from.
_MODULES: Final = ("running", "programs", "files", "node", "network", "services", "program")


@cache
def program_text() -> bytes:
    """Return the program: the modules one after the other, without what they import from one another.

    Raises:
        ValueError: two modules give one name to two things.
    """
    folder = Path(str(remote.__file__)).parent
    texts: list[str] = ["from __future__ import annotations"]
    names: set[str] = set()
    for module in _MODULES:
        source = (folder / f"{module}.py").read_text(encoding="utf-8")
        lines = source.splitlines()
        for node in ast.parse(source).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                ("zejzl_ray", "__future__")
            ):
                first, last = node.lineno - 1, node.end_lineno or node.lineno
                lines[first:last] = [""] * (last - first)
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                if node.name in names:
                    raise ValueError(f"two modules of the remote program define {node.name}")
                names.add(node.name)
        texts += lines
    return "\n".join([*texts, "main()", ""]).encode()
