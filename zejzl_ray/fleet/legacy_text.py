"""Edits to an old startup file that leave every other character as it is.

A YAML library that writes a file back reformats it: flow mappings over several lines, trailing commas and
list indents are lost. So the file is only *parsed* for positions, and the edits are cuts and insertions in
the text itself.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from zejzl_ray.errors import FleetInvalid
from zejzl_ray.fleet.legacy_nodes import Entry, content_end, flow_text, is_empty, pair_of, scalar_spans

_ENTRY_MARKS: Final = frozenset({"script_path", "script", "path", "port"})
_FIELD_NAMES: Final = {"health_port": ("health_check_port", "health_port"), "port": ("port",)}


@dataclass(frozen=True)
class _Edit:
    start: int
    end: int
    text: str


class LegacyText:
    """An old startup file and the edits to make to it; ``result`` returns the new text.

    Args:
        text: the file's content.
        file: its name, for messages.

    Raises:
        FleetInvalid: the text is not YAML, or not a mapping at its top.
    """

    def __init__(self, text: str, file: str = "") -> None:
        self.text = text
        self.file = file
        self._edits: list[_Edit] = []
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.YAMLError as problem:
            raise FleetInvalid(f"{file}: cannot be read as YAML: {problem}") from None
        if not isinstance(root, MappingNode):
            raise FleetInvalid(f"{file}: is no startup configuration: the top must be a mapping.")
        self._root = root
        self.entries: tuple[Entry, ...] = tuple(self._find_entries())

    def named(self, name: str) -> tuple[Entry, ...]:
        """Return the entries of this name, in file order; more than one when the file declares it twice."""
        return tuple(entry for entry in self.entries if entry.name == name)

    def comments(self, entry: Entry) -> list[str]:
        """Return the comments inside the entry, without their hash marks, each with what it stands beside."""
        start, end = self._extent(entry) if not entry.container.flow_style else (0, 0)
        texts = [*scalar_spans(entry.value)]
        found: list[str] = []
        for match in re.finditer(r"(?m)(?:^|(?<=\s))#+[ \t]*(.*)$", self.text[start:end]):
            at = start + match.start()
            if not any(first <= at < last for first, last in texts):
                beside = self.text[self._line_start(at) : at].strip().rstrip(",")
                found.append(f"{beside}  # {match[1]}" if beside else match[1])
        return found

    def _find_entries(self) -> Iterator[Entry]:
        for key, value in self._root.value:
            if isinstance(value, SequenceNode):
                yield from self._in_list(value, key.value)
            elif key.value == "agent_groups" and isinstance(value, MappingNode):
                yield from self._in_groups(value, key.value)

    def _in_groups(self, groups: MappingNode, path: str) -> Iterator[Entry]:
        for key, value in groups.value:
            if not isinstance(value, MappingNode):
                continue
            if _ENTRY_MARKS & {str(pair[0].value) for pair in value.value}:
                yield Entry(str(key.value), key, value, groups, path)
            else:
                yield from self._in_groups(value, f"{path}.{key.value}")

    def _in_list(self, items: SequenceNode, path: str) -> Iterator[Entry]:
        for item in items.value:
            if isinstance(item, MappingNode):
                name = pair_of(item, ("name",))
                if name is not None and isinstance(name[1], ScalarNode):
                    yield Entry(str(name[1].value), None, item, items, path)

    def remove(self, entry: Entry) -> None:
        """Take the entry out, with the comments that are indented below it."""
        start, end = self._extent(entry)
        self._edits.append(_Edit(start, end, ""))

    def remove_emptied_lists(self, removed: Sequence[Entry]) -> None:
        """Take out the top-level lists that hold nothing but the removed entries, with the comments above."""
        gone = {id(entry.value) for entry in removed}
        for key, value in self._root.value:
            if (
                isinstance(value, SequenceNode)
                and value.value
                and all(id(item) in gone for item in value.value)
            ):
                start = self._line_start(key.start_mark.index)
                while (above := self._line_above(start)) is not None and above[1].startswith("#"):
                    start = above[0]
                self._edits.append(_Edit(start, self._line_end(content_end(value)), ""))

    def rewire(self, entry: Entry, renamed: Mapping[str, str | None]) -> None:
        """Change the names in the entry's dependencies.

        ``renamed`` maps each name to the new one, or to None to drop it; others stay. A name that already
        stands before is dropped. Names that stay the same keep their line, their place and their comment.
        """
        pair = pair_of(entry.value, ("dependencies",))
        items = pair[1] if pair is not None else None
        if pair is None or not isinstance(items, SequenceNode):
            return
        new_names: list[str] = []
        edits: list[_Edit] = []
        for item in items.value:
            new = renamed.get(str(item.value), str(item.value))
            if new is None or new in new_names:
                edits.append(
                    _Edit(self._line_start(item.start_mark.index), self._line_end(item.end_mark.index), "")
                )
                continue
            new_names.append(new)
            if new != item.value:
                edits.append(_Edit(item.start_mark.index, item.end_mark.index, new))
        if not edits:
            return
        if items.flow_style:
            opened = self.text.index("[", items.start_mark.index)  # an anchor may stand before it
            self._edits.append(_Edit(opened, items.end_mark.index, f"[{', '.join(new_names)}]"))
        elif new_names:
            self._edits.extend(edits)
        else:
            self._edits.append(_Edit(pair[0].end_mark.index, content_end(items), ": []"))

    def renumber(self, entry: Entry, field: str, old: int, new: int) -> None:
        """Change the number in ``port`` or ``health_port``; a sum such as ``${PORT_OFFSET}+7150`` stays one.

        Raises:
            FleetInvalid: the number does not stand there.
        """
        pair = pair_of(entry.value, _FIELD_NAMES[field])
        span = (pair[1].start_mark.index, pair[1].end_mark.index) if pair else (0, 0)
        before = self.text[slice(*span)]
        after, count = re.subn(rf"(?<!\d){old}(?!\d)", str(new), before)
        if count != 1:
            raise FleetInvalid(
                f"{self.file}: {entry.name}: {field} is {before!r}, which does not name {old}.",
                f"Change it by hand to what gives {new}.",
            )
        self._edits.append(_Edit(*span, after))

    def add_fields(self, entry: Entry, fields: Mapping[str, Any]) -> None:
        """Append fields to an entry, in the style in which it is written."""
        last_key, last_value = entry.value.value[-1]
        column = last_key.start_mark.column
        end = content_end(last_value) if not is_empty(last_value) else last_key.end_mark.index + 1
        if not entry.value.flow_style:
            lines = "".join(f"\n{' ' * column}{key}: {flow_text(value)}" for key, value in fields.items())
            end = self._line_end(end) - 1 if self.text[end:].find("\n") >= 0 else len(self.text)
            self._edits.append(_Edit(end, end, lines))
        elif entry.value.start_mark.line == entry.value.end_mark.line:
            self._edits.append(_Edit(end, end, "".join(f", {k}: {flow_text(v)}" for k, v in fields.items())))
        else:
            lines = "".join(f",\n{' ' * column}{key}: {flow_text(value)}" for key, value in fields.items())
            self._edits.append(_Edit(end, end, lines))

    def insert_entries(self, entries: Sequence[Mapping[str, Any]], *, comment: str) -> None:
        """Insert new entries where the first agents stand, in the style of the entry that is there.

        In a file with ``agent_groups`` that is the first group that holds agents, else the first list of
        agents.

        Raises:
            FleetInvalid: the file has no agent entry to stand beside, or is written on one line.
        """
        if not entries:
            return
        beside = next((entry for entry in self.entries), None)
        if beside is None or beside.container.flow_style:
            raise FleetInvalid(
                f"{self.file}: there is no block of agent entries to put the services into.",
                "Write the agents one below the other, or use --unified only.",
            )
        anchor = beside.key.start_mark.index if beside.key else self._dash(beside.value)
        at = self._line_start(anchor)
        column = anchor - at
        while (above := self._line_above(at)) is not None and (not above[1] or above[1].startswith("#")):
            at = above[0]
        pad = " " * column
        lines = [f"{pad}# {line}" for line in comment.splitlines()]
        for fields in entries:
            if beside.key is not None:
                lines.append(f"{pad}{fields['name']}:")
                lines += [
                    f"{pad}  {key}: {flow_text(value)}" for key, value in fields.items() if key != "name"
                ]
            elif beside.value.flow_style:
                lines.append(f"{pad}- {{")
                lines += [f"{pad}    {key}: {flow_text(value)}," for key, value in fields.items()]
                lines.append(f"{pad}  }}")
            else:
                pairs = [f"{key}: {flow_text(value)}" for key, value in fields.items()]
                lines.append(f"{pad}- {pairs[0]}")
                lines += [f"{pad}  {text}" for text in pairs[1:]]
        self._edits.append(_Edit(at, at, "\n".join(lines) + "\n"))

    def result(self) -> str:
        """Return the text with all edits made.

        Raises:
            FleetInvalid: two edits want the same place, which happens with YAML anchors that several entries
            share.
        """
        # An entry inside a removed list is cut by both: the larger cut wins.
        edits = sorted(set(self._edits), key=lambda edit: (edit.start, edit.end > edit.start, -edit.end))
        pieces: list[str] = []
        position = 0
        cut_until = 0
        for edit in edits:
            if edit.end <= cut_until and edit.start < cut_until:
                continue
            if edit.start < position:
                line = self.text.count("\n", 0, edit.start) + 1
                raise FleetInvalid(
                    f"{self.file}:{line}: two changes meet at this place.",
                    "Write out what YAML anchors and merge keys share here, and try again.",
                )
            pieces += [self.text[position : edit.start], edit.text]
            position = max(position, edit.end)
            if not edit.text:
                cut_until = edit.end
        return "".join([*pieces, self.text[position:]])

    def _extent(self, entry: Entry) -> tuple[int, int]:
        if entry.container.flow_style:
            raise FleetInvalid(
                f"{self.file}:{entry.value.start_mark.line + 1}: {entry.name} stands in a one-line list.",
                "Write the agents one below the other and try again.",
            )
        anchor = entry.key.start_mark.index if entry.key else self._dash(entry.value)
        start = self._line_start(anchor)
        column = anchor - start
        end = self._line_end(content_end(entry.value))
        position = end
        while position < len(self.text):
            line_end = self._line_end(position)
            line = self.text[position:line_end]
            body = line.lstrip()
            if body and not (body.startswith("#") and len(line) - len(body) > column):
                break
            position = line_end
            if body:
                end = line_end
        return start, end

    def _dash(self, item: Node) -> int:
        return self.text.rindex("-", 0, item.start_mark.index)

    def _line_start(self, index: int) -> int:
        return self.text.rfind("\n", 0, index) + 1

    def _line_end(self, index: int) -> int:
        """Where the next line starts."""
        newline = self.text.find("\n", index)
        return len(self.text) if newline < 0 else newline + 1

    def _line_above(self, start: int) -> tuple[int, str] | None:
        if start == 0:
            return None
        above = self._line_start(start - 1)
        return above, self.text[above : start - 1].strip()
