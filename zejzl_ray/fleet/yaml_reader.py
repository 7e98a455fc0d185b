"""From bytes to a tree: whatever they are, the answer is a tree or findings, never an exception."""

import re
from pathlib import Path
from typing import Any, Final

import yaml

from zejzl_ray.fleet.document import Document, Entry, Items, Node, Scalar, Table, is_null, kind_of
from zejzl_ray.fleet.finding import Finding, Place, error

MAX_BYTES: Final = 2 * 1024 * 1024
MAX_NODES: Final = 100_000  # after aliases are expanded
MAX_DEPTH: Final = 64

_LOADER: Any = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)  # libyaml where PyYAML was built with it: ten times faster
_UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MERGE: Final = "tag:yaml.org,2002:merge"
_SCALAR_TAGS: Final = frozenset(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float"))
_TEXT_TAGS: Final = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "timestamp", "value", "merge", "yaml")
)
_COLLECTION_TAGS: Final = frozenset(f"tag:yaml.org,2002:{name}" for name in ("map", "seq"))


def read_document(path: Path) -> Document:
    """Read one file; its name in findings is the path as given."""
    file = str(path)
    try:
        if path.is_dir():
            return _refused(file, "file-unreadable", f"{file} is a directory", "Name the file in it.")
        if not path.exists():
            return _refused(file, "file-missing", f"there is no file {file}", "Check the path.")
        if not path.is_file():
            return _refused(file, "file-unreadable", f"{file} is not a regular file", "Name a regular file.")
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as problem:  # ValueError: a NUL byte in the path
        reason = getattr(problem, "strerror", None) or str(problem)
        return _refused(
            file, "file-unreadable", f"cannot read the file: {reason}", "Check the path and its rights."
        )
    return parse_document(data, file)


def parse_document(data: bytes, file: str) -> Document:
    """Read YAML from bytes; ``file`` is the name used in findings."""
    if len(data) > MAX_BYTES:
        return _refused(file, "file-too-large", f"the file is larger than {MAX_BYTES} bytes", "Split it.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        good = data[: problem.start].decode("utf-8", "replace")
        return Document(
            file,
            None,
            (
                error(
                    "not-utf8",
                    f"the byte 0x{data[problem.start]:02x} is not UTF-8",
                    _place_in(good, len(good), file),
                    remedy="Save the file as UTF-8.",
                ),
            ),
        )
    if (bad := _UNPRINTABLE.search(text)) is not None:
        return Document(
            file,
            None,
            (
                error(
                    "yaml-syntax",
                    f"the character U+{ord(bad.group()):04X} is not allowed in YAML",
                    _place_in(text, bad.start(), file),
                    remedy="Remove it.",
                ),
            ),
        )
    try:
        return _build(text, file)
    except yaml.MarkedYAMLError as problem:
        return Document(file, None, (_syntax_error(problem, file),))
    except _RefusedError as problem:
        return Document(file, None, (problem.finding,))


class _RefusedError(Exception):
    """The document is too large or too deep to be read."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding)
        self.finding = finding


def _build(text: str, file: str) -> Document:
    second = _check_shape(text, file)
    loader = _LOADER(text)
    try:
        loader.check_node()
        top = loader.get_node()
    finally:
        loader.dispose()
    if top is None:
        return _refused(file, "file-empty", "the file holds nothing", "Write a fleet into it.")
    builder = _Builder(file)
    root = builder.node(top)
    findings = builder.findings
    if second is not None:
        findings.append(
            error(
                "yaml-documents",
                "a second document begins here, only the first one is read",
                second,
                remedy="Put the second one into a file of its own.",
            )
        )
    if not isinstance(root, Table):
        if is_null(root):
            return _refused(file, "file-empty", "the file holds nothing", "Write a fleet into it.")
        findings.append(
            error(
                "not-a-mapping",
                f"the file must hold a mapping, but it holds {kind_of(root)}",
                root.place,
                remedy="Begin it with 'schema:', 'agent_groups:' or 'pc2_services:'.",
            )
        )
        return Document(file, None, tuple(findings))
    return Document(file, root, tuple(findings))


def _check_shape(text: str, file: str) -> Place | None:
    """Bound size and depth by the events, without recursion; return where a second document begins."""
    second: Place | None = None
    documents = nodes = depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents == 2:
                second = _place(event.start_mark, file)
            if documents > 1:
                break
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            nodes += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.NodeEvent):
            nodes += 1
        if depth > MAX_DEPTH or nodes > MAX_NODES:
            raise _RefusedError(_too_big(_place(event.start_mark, file)))
    return second


class _Builder:
    """Turns composed nodes into our tree; shared nodes (aliases) stay shared."""

    def __init__(self, file: str) -> None:
        self.findings: list[Finding] = []
        self._file = file
        self._values = yaml.constructor.SafeConstructor()
        #: id of a composed node -> (our node, its size with aliases expanded, its depth)
        self._done: dict[int, tuple[Node, int, int]] = {}
        self._open: set[int] = set()

    def node(self, source: yaml.Node) -> Node:
        return self._measured(source)[0]

    def _measured(self, source: yaml.Node) -> tuple[Node, int, int]:
        known = self._done.get(id(source))
        if known is not None:
            return known
        place = _place(source.start_mark, self._file)
        if id(source) in self._open:
            self.findings.append(
                error(
                    "yaml-recursive",
                    "this value contains itself through an alias",
                    place,
                    remedy="Write the value out.",
                )
            )
            return Scalar(None, "", place), 1, 1
        self._open.add(id(source))
        result = self._build(source, place)
        self._open.discard(id(source))
        if result[1] > MAX_NODES or result[2] > MAX_DEPTH:
            raise _RefusedError(_too_big(place))
        self._done[id(source)] = result
        return result

    def _build(self, source: yaml.Node, place: Place) -> tuple[Node, int, int]:
        if isinstance(source, yaml.ScalarNode):
            return self._scalar(source, place), 1, 1
        if source.tag not in _COLLECTION_TAGS:
            self._unknown_tag(source.tag, place)
        if isinstance(source, yaml.SequenceNode):
            parts = [self._measured(item) for item in source.value]
            return (
                Items(tuple(part[0] for part in parts), place),
                1 + sum(part[1] for part in parts),
                1 + max((part[2] for part in parts), default=0),
            )
        return self._table(source, place)

    def _table(self, source: yaml.Node, place: Place) -> tuple[Node, int, int]:
        merged: dict[str, Entry] = {}
        own: list[Entry] = []
        size, depth = 1, 0
        for key, value in source.value:
            part, part_size, part_depth = self._measured(value)
            size, depth = size + part_size, max(depth, part_depth)
            key_place = _place(key.start_mark, self._file)
            if key.tag == _MERGE:
                for entry in self._merged_entries(part):
                    merged.setdefault(entry.key, entry)
            elif isinstance(key, yaml.ScalarNode):
                own.append(Entry(key.value, key_place, part))
            else:
                self.findings.append(
                    error(
                        "yaml-key",
                        "a key must be a plain word, not a list or a mapping",
                        key_place,
                        remedy="Quote it, if it is meant as text.",
                    )
                )
        written = {entry.key for entry in own}
        every = tuple(entry for entry in merged.values() if entry.key not in written) + tuple(own)
        return Table({entry.key: entry for entry in every}, every, place), size, depth + 1

    def _merged_entries(self, node: Node) -> tuple[Entry, ...]:
        if isinstance(node, Table):
            return tuple(node.entries.values())
        if isinstance(node, Items) and all(isinstance(item, Table) for item in node.items):
            return tuple(
                entry for item in node.items if isinstance(item, Table) for entry in item.entries.values()
            )
        self.findings.append(
            error(
                "yaml-merge",
                f"'<<' takes a mapping or a list of mappings, not {kind_of(node)}",
                node.place,
                remedy="Name the anchor of a mapping, such as <<: *defaults.",
            )
        )
        return ()

    def _scalar(self, source: yaml.ScalarNode, place: Place) -> Scalar:
        if source.tag in _SCALAR_TAGS:
            try:
                return Scalar(self._values.construct_object(source), source.value, place)
            except (
                ValueError,
                KeyError,
                IndexError,
            ):  # '0b_', '!!int x', a number of 5000 digits, '!!bool maybe'
                return Scalar(source.value, source.value, place)
        if source.tag not in _TEXT_TAGS:
            self._unknown_tag(source.tag, place)
        return Scalar(source.value, source.value, place)

    def _unknown_tag(self, tag: str, place: Place) -> None:
        shown = tag.replace("tag:yaml.org,2002:", "!!")
        self.findings.append(
            error("yaml-tag", f"the tag {shown} means nothing here", place, remedy="Remove the tag.")
        )


def _place(mark: Any, file: str) -> Place:
    return Place(file, mark.line + 1, mark.column + 1)


def _place_in(text: str, offset: int, file: str) -> Place:
    before = text[:offset]
    return Place(file, before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1)


def _syntax_error(problem: yaml.MarkedYAMLError, file: str) -> Finding:
    mark = problem.problem_mark or problem.context_mark
    place = _place(mark, file) if mark is not None else Place(file, 1, 1)
    related: tuple[Place, ...] = ()
    if problem.context_mark is not None and problem.context:
        context = _place(problem.context_mark, file)
        related = (Place(context.file, context.line, context.column, problem.context),)
    message = "not valid YAML: " + ", ".join(part for part in (problem.context, problem.problem) if part)
    return error(
        "yaml-syntax",
        message,
        place,
        remedy="Repair the line; the cause may stand just above it.",
        related=related,
    )


def _too_big(place: Place) -> Finding:
    return error(
        "file-too-large",
        f"the file holds more than {MAX_NODES} values (aliases counted each time), "
        f"or values nested deeper than {MAX_DEPTH}",
        place,
        remedy="Write it flatter and with fewer aliases.",
    )


def _refused(file: str, code: str, message: str, remedy: str) -> Document:
    return Document(file, None, (error(code, message, Place(file), remedy=remedy),))
