"""The parts of the Python reference: public names, signatures, first sentences."""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from pydantic import BaseModel

import zejzl_ray

_WIDTH: Final = 90
_MODULE_PATH: Final = re.compile(r"\b(?:[a-z_]+\.)+(?=[A-Z])")
_CLASS: Final = re.compile(r"<class '([^']+)'>")


def python_parts() -> Iterator[str]:
    """Yield the Markdown of every public name, in the order of the names."""
    for name in sorted(zejzl_ray.__all__):
        value = getattr(zejzl_ray, name)
        if inspect.isclass(value):
            yield f"## `{name}`"
            yield first_paragraph(value)
            if not issubclass(value, (BaseModel, Exception, str)):
                yield from _methods(value)
        elif callable(value):
            yield f"## `{name}`"
            yield f"```python\n{name}{_signature(value)}\n```"
            yield first_paragraph(value)


def first_paragraph(thing: Any) -> str:
    """Return the first paragraph of a docstring on one line."""
    return (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ")


def _methods(owner: type) -> Iterator[str]:
    for name, method in vars(owner).items():
        if name.startswith("_"):
            continue
        if isinstance(method, property):
            yield f"`{name}` (property): {first_paragraph(method)}"
        elif inspect.isfunction(method):
            word = "async " if inspect.iscoroutinefunction(method) else ""
            yield f"```python\n{word}{name}{_signature(method)}\n```"
            yield first_paragraph(method)


def _signature(function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    whole = _plain(str(signature))
    if len(whole) <= _WIDTH:
        return whole
    lines: list[str] = []
    for one in signature.parameters.values():
        is_first_keyword = one.kind is one.KEYWORD_ONLY and "*" not in lines
        if is_first_keyword and not any(line.startswith("*") for line in lines):
            lines.append("*")
        lines.append(_plain(str(one)))
    result = whole.rsplit(" -> ", 1)[-1] if " -> " in whole else "None"
    return "(\n" + "".join(f"    {line},\n" for line in lines) + f") -> {result}"


def _plain(text: str) -> str:
    return _MODULE_PATH.sub("", _CLASS.sub(r"\1", text))
