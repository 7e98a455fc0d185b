"""From bytes to plain data with the place of each value: a policy file is read with all its traps closed.

No tags, no anchors, no second document, no key twice, bounded size and depth: what a file says is what stands in it.
"""

from collections.abc import Iterator
from typing import Any, Final

import yaml

from zejzl_ray.security.policy_problem import Path, PolicyProblem, shown

MAX_BYTES: Final = 256 * 1024
MAX_NODES: Final = 20_000
MAX_DEPTH: Final = 16

# libyaml where PyYAML was built with it: ten times faster
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TYPED_TAGS: Final = frozenset(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float"))

Places = dict[Path, tuple[int, int]]
"""Path of a value -> line and column where it begins, from 1; of an entry of a mapping: where its key begins."""


class UnreadableError(Exception):
    """The bytes hold no data; ``problems`` say why."""

    def __init__(self, problems: tuple[PolicyProblem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems


def read_yaml(data: bytes, file: str) -> tuple[Any, Places]:
    """Return the data of a YAML document and where each value stands.

    Args:
        data: UTF-8, with or without a byte order mark.
        file: its name in problems.

    Raises:
        UnreadableError: it is no such document; holds every double key at once, else the first fault.
    """
    if len(data) > MAX_BYTES:
        raise _refused(file, "file-too-large", f"the file is larger than {MAX_BYTES} bytes", "Shorten it.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _refused(
            file,
            "not-utf8",
            f"the byte 0x{data[error.start]:02x} is not UTF-8",
            "Save the file as UTF-8.",
            line,
            1,
        ) from None
    try:
        _check_events(text, file)
        top = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        raise _syntax_error(error, file) from None
    if top is None:
        raise _refused(file, "file-empty", "the file holds nothing", "Write a policy into it, or remove it.")
    builder = _Builder(file)
    value = builder.build(top, ())
    if builder.problems:
        raise UnreadableError(tuple(builder.problems))
    return value, builder.places


def _check_events(text: str, file: str) -> None:
    """Bound size and depth without recursion, and refuse what would make the file say more than it shows."""
    documents = nodes = depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        mark: Any = event.start_mark
        where = (mark.line + 1, mark.column + 1)
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _refused(file, "yaml-documents", "a second document begins here", "Remove it.", *where)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.NodeEvent):
            nodes += 1
            depth += isinstance(event, yaml.CollectionStartEvent)
            if event.anchor is not None:
                raise _refused(
                    file,
                    "yaml-anchor",
                    "anchors and aliases are not read in a policy",
                    "Write it out.",
                    *where,
                )
            if getattr(event, "tag", None) is not None:
                raise _refused(file, "yaml-tag", "tags are not read in a policy", "Remove the tag.", *where)
        if nodes > MAX_NODES or depth > MAX_DEPTH:
            raise _refused(
                file,
                "file-too-large",
                f"more than {MAX_NODES} values, or deeper than {MAX_DEPTH}",
                "",
                *where,
            )


class _Builder:
    """Turns composed nodes into plain data and remembers where they stood."""

    def __init__(self, file: str) -> None:
        self.places: Places = {}
        self.problems: list[PolicyProblem] = []
        self._file = file
        self._values = yaml.constructor.SafeConstructor()

    def build(self, node: yaml.Node, path: Path) -> Any:
        self.places.setdefault(path, _place(node))
        if isinstance(node, yaml.MappingNode):
            return dict(self._entries(node, path))
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _entries(self, node: yaml.MappingNode, path: Path) -> Iterator[tuple[str, Any]]:
        seen: dict[str, int] = {}
        for key, value in node.value:
            line, column = _place(key)
            if not isinstance(key, yaml.ScalarNode):
                self._fault("yaml-key", "a key must be a plain word", "Quote it.", path, line, column)
                continue
            name = str(key.value)
            if name in seen:
                message = f"the key {shown(name)!r} stands here a second time, first in line {seen[name]}"
                self._fault("yaml-double-key", message, "Keep one of them.", (*path, name), line, column)
                continue
            seen[name] = line
            self.places[(*path, name)] = (line, column)
            yield name, self.build(value, (*path, name))

    def _scalar(self, node: yaml.Node) -> Any:
        if node.tag in _TYPED_TAGS:
            try:
                return self._values.construct_object(node)
            except (ValueError, KeyError, IndexError):  # '0b_', a number of 5000 digits
                return node.value
        return node.value

    def _fault(self, code: str, message: str, remedy: str, path: Path, line: int, column: int) -> None:
        self.problems.append(
            PolicyProblem(code, message, remedy, path, file=self._file, line=line, column=column)
        )


def _place(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _syntax_error(error: yaml.YAMLError, file: str) -> UnreadableError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
    parts = (
        getattr(error, "context", None),
        getattr(error, "problem", None) or getattr(error, "reason", None),
    )
    message = "not valid YAML: " + (", ".join(str(part) for part in parts if part) or "it cannot be read")
    return _refused(
        file, "yaml-syntax", message, "Repair the line; the cause may stand just above it.", line, column
    )


def _refused(
    file: str, code: str, message: str, remedy: str, line: int = 0, column: int = 0
) -> UnreadableError:
    return UnreadableError((PolicyProblem(code, message, remedy, file=file, line=line, column=column),))
