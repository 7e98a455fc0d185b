from pathlib import Path

import pytest

from zejzl_ray.fleet.document import Document, Items, Scalar, Table, kind_of, plain, repeated_keys
from zejzl_ray.fleet.yaml_reader import MAX_BYTES, MAX_DEPTH, parse_document, read_document


def parse(text: str | bytes) -> Document:
    return parse_document(text.encode() if isinstance(text, str) else text, "f.yaml")


def root_of(text: str) -> Table:
    document = parse(text)
    assert document.root is not None
    assert document.findings == ()
    return document.root


def codes(document: Document) -> list[str]:
    return [finding.code for finding in document.findings]


def test_keys_and_values_know_their_places() -> None:
    root = root_of("a:\n  b: [1, two]\n")
    entry = root.entries["a"]
    assert (entry.place.line, entry.place.column) == (1, 1)
    assert isinstance(entry.node, Table)
    inner = entry.node.entries["b"].node
    assert isinstance(inner, Items)
    assert [(item.place.line, item.place.column) for item in inner.items] == [(2, 7), (2, 10)]
    assert plain(root) == {"a": {"b": [1, "two"]}}


def test_scalars_are_read_as_yaml_reads_them_and_dates_stay_text() -> None:
    root = root_of("{i: 7, f: 1.5, t: yes, n: ~, d: 2025-07-15, s: '7', e: , h: 0x10}")
    assert plain(root) == {
        "i": 7,
        "f": 1.5,
        "t": True,
        "n": None,
        "d": "2025-07-15",
        "s": "7",
        "e": None,
        "h": 16,
    }


@pytest.mark.parametrize("text", ["0b_", "!!int x", "!!float y", "!!bool maybe", "9" * 5000])
def test_a_number_that_python_cannot_read_stays_text(text: str) -> None:
    node = root_of(f"a: {text}").entries["a"].node
    assert isinstance(node, Scalar)
    assert isinstance(node.value, str)


def test_merge_keys_give_way_to_the_keys_beside_them() -> None:
    root = root_of(
        "base: &b {x: 1, y: 2}\nmore: &m {y: 3, z: 4}\nall:\n  <<: [*b, *m]\n  x: 9\none: {<<: *b}\n"
    )
    assert plain(root)["all"] == {"x": 9, "y": 2, "z": 4}
    assert plain(root)["one"] == {"x": 1, "y": 2}


def test_a_key_that_stands_twice_keeps_both_entries() -> None:
    root = root_of("a: 1\nb: [{c: 1, c: 2}]\na: 3\n")
    found = [(first.key, first.place.line, again.place.line) for _, first, again in repeated_keys(root)]
    assert sorted(found) == [("a", 1, 3), ("c", 2, 2)]
    assert plain(root)["a"] == 3


def test_repeated_keys_below_an_alias_are_named_once() -> None:
    root = root_of("a: &x {c: 1, c: 2}\nb: *x\n")
    assert len(list(repeated_keys(root))) == 1


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("a: [1, 2\nb: 3\n", "yaml-syntax", 2),
        ("a: 'x\n", "yaml-syntax", 2),
        ("a: *nobody\n", "yaml-syntax", 1),
        ("a: b: c\n", "yaml-syntax", 1),
        ("\tx: 1", "yaml-syntax", 1),
        ("a: 1\nb: \x00\n", "yaml-syntax", 2),
        ("- 1\n- 2\n", "not-a-mapping", 1),
        ("just words", "not-a-mapping", 1),
        ("", "file-empty", 0),
        ("# a comment\n", "file-empty", 0),
        ("---\n~\n", "file-empty", 0),
        (b"a: 1\nb: \xff\n", "not-utf8", 2),
        ("[" * 5000, "file-too-large", 1),
        ("a: " + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "file-too-large", 1),
        ("a: [" + "x," * 100_001 + "]", "file-too-large", 1),
    ],
)
def test_what_cannot_be_read_says_where_and_what_to_do(text: str | bytes, code: str, line: int) -> None:
    document = parse(text)
    assert document.root is None
    (finding,) = document.findings
    assert (finding.code, finding.line) == (code, line)
    assert finding.remedy


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: &x [*x]\n", "yaml-recursive"),
        ("? [a, b]\n: 1\n", "yaml-key"),
        ("a: {<<: 7}\n", "yaml-merge"),
        ("a: {<<: [7]}\n", "yaml-merge"),
        ("a: !!python/object:os.system {}\n", "yaml-tag"),
        ("a: !secret x\n", "yaml-tag"),
        ("a: 1\n---\nb: 2\n", "yaml-documents"),
    ],
)
def test_what_yaml_allows_and_we_do_not_is_one_finding(text: str, code: str) -> None:
    document = parse(text)
    assert codes(document) == [code]
    assert document.root is not None


def test_a_bomb_of_aliases_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert codes(parse("\n".join(lines))) == ["file-too-large"]


def test_a_ladder_of_aliases_is_refused_as_too_deep() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, MAX_DEPTH + 5)]
    assert codes(parse("\n".join(lines))) == ["file-too-large"]


def test_a_syntax_error_names_the_line_it_began_in() -> None:
    (finding,) = parse("a:\n  - [1, 2\nb: 3\n").findings
    assert finding.related
    assert finding.related[0].line == 2


def test_a_byte_order_mark_is_no_fault() -> None:
    assert plain(root_of("\ufeffa: 1\n")) == {"a": 1}


def test_files_that_are_not_there_or_no_files_are_findings(tmp_path: Path) -> None:
    assert codes(read_document(tmp_path / "none.yaml")) == ["file-missing"]
    assert codes(read_document(tmp_path)) == ["file-unreadable"]
    assert codes(read_document(Path("/dev/null"))) == ["file-unreadable"]
    assert codes(read_document(tmp_path / "a\x00b")) in (["file-unreadable"], ["file-missing"])
    assert codes(read_document(tmp_path / ("x" * 5000))) == ["file-unreadable"]


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    path.write_bytes(b"#" * (MAX_BYTES + 10))
    assert codes(read_document(path)) == ["file-too-large"]


def test_a_value_is_described_in_words() -> None:
    root = root_of(f"{{a: {{}}, b: [], c: ~, d: true, e: 7, f: word, g: {'x' * 100}}}")
    said = {key: kind_of(entry.node) for key, entry in root.entries.items()}
    assert said["a"] == "a mapping"
    assert said["b"] == "a list"
    assert said["c"] == "nothing"
    assert said["d"] == "the boolean true"
    assert said["e"] == "the number 7"
    assert said["f"] == "the text 'word'"
    assert said["g"].endswith("...'")
