"""Reading a policy: whatever the bytes are, the answer is a policy or problems with a place."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zejzl_ray.contracts.policy import Policy, SetPolicy
from zejzl_ray.errors import InvalidInput
from zejzl_ray.security import policy_file
from zejzl_ray.security.policy_file import (
    default_policy,
    find_policy_file,
    load_policy,
    parse_policy,
    read_policy,
    refusal,
)
from zejzl_ray.security.policy_problem import PolicyProblem
from zejzl_ray.security.policy_yaml import MAX_BYTES

SHIPPED = Path(__file__).resolve().parents[3] / "config" / "policy.yaml"
TEXT = SHIPPED.read_text(encoding="utf-8")


def found(text: str | bytes) -> list[str]:
    data = text if isinstance(text, bytes) else text.encode()
    loaded = parse_policy(data, "p.yaml")
    assert (loaded.policy is None) == bool(loaded.errors)
    return [f"{each.line}:{each.column} {each.code}" for each in loaded.problems]


def with_line(old: str, new: str) -> str:
    assert TEXT.count(old) == 1, old
    return TEXT.replace(old, new)


def line_of(text: str) -> int:
    return TEXT[: TEXT.index(text)].count("\n") + 1


def test_the_shipped_policy_has_nothing_to_complain_about() -> None:
    loaded = load_policy(SHIPPED)
    assert loaded.problems == ()
    assert loaded.policy == default_policy()
    assert loaded.warnings == ()


def test_the_shipped_policy_is_read_once() -> None:
    assert default_policy() is default_policy()


def test_a_policy_survives_the_wire_and_the_store() -> None:
    request = SetPolicy(policy=default_policy())
    assert SetPolicy.model_validate_json(request.model_dump_json()) == request
    assert Policy.model_validate(default_policy().model_dump()) == default_policy()
    assert Policy.model_validate(default_policy().model_dump(by_alias=False)) == default_policy()


def test_ones_own_file_goes_before_the_shipped_one(tmp_path: Path) -> None:
    assert find_policy_file(tmp_path).name == "policy.yaml"
    own = tmp_path / "config" / "policy.yaml"
    own.parent.mkdir()
    own.write_text(TEXT)
    assert find_policy_file(tmp_path) == own


def test_without_any_file_the_answer_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_file, "_SHIPPED", (tmp_path / "nowhere",))
    with pytest.raises(InvalidInput, match="is not here"):
        find_policy_file(tmp_path)
    with pytest.raises(InvalidInput, match="shipped policy file is missing"):
        default_policy.__wrapped__()


@pytest.mark.parametrize(
    ("old", "new", "place", "code", "words"),
    [
        ("  user: [member]", "  user: [membre]", "membre", "unknown-role", "Did you mean member?"),
        ("least_length: 12", "least_length: 4", "least_length", "bad-value", "greater than or equal to 8"),
        ("least_length: 12", "least_length: true", "least_length", "bad-value", "true"),
        ("least_length: 12", "least_lenght: 12", "least_lenght", "unknown-key", "Did you mean least_length?"),
        ("least_length: 12", "least_length: [1]", "least_length", "bad-value", "a list"),
        ("least_length: 12", "least_length: {a: 1}", "least_length", "bad-value", "a mapping"),
        ('grants: ["*:*:*"]', 'grants: ["core:*"]', "core:*", "bad-value", "service:resource:action"),
        ("deny: []", 'deny: ["10.0.0.0/8 "]', "deny", "bad-value", "192.168.1.0/24"),
        ("deny: []", "deny: [999.0.0.1]", "deny", "bad-address", "192.168.1.0/24"),
        ("  service:root: [admin]", "  service.root: [admin]", "service.root", "bad-value", "kind:name"),
        ("half_life_s: 3600 ", "half_life_s: .inf ", "half_life_s", "bad-value", "half_life_s"),
        ("slow_s: 5.0 ", "slow_s: 0b_ ", "slow_s", "bad-value", "0b_"),
        ("half_life_s: 3600 ", "half_life_s: 2024-01-01 ", "half_life_s", "bad-value", "2024-01-01"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_its_line(old: str, new: str, place: str, code: str, words: str) -> None:
    text = with_line(old, new)
    loaded = parse_policy(text.encode(), "p.yaml")
    (problem,) = [each for each in loaded.errors if each.code == code][:1]
    assert problem.line == text[: text.index(place, text.index(new))].count("\n") + 1
    assert words in str(problem)
    assert str(problem).startswith(f"p.yaml:{problem.line}:{problem.column}: error: ")


def test_a_missing_key_is_named_where_it_should_be() -> None:
    text = with_line("    grants:\n      - core_orchestrator:machines:own\n", "")
    (problem,) = parse_policy(text.encode(), "p.yaml").errors
    assert (problem.code, problem.path) == ("missing", ("roles", "machine", "grants"))
    assert problem.line == line_of("  machine:\n")


def test_a_schema_of_another_time_is_refused() -> None:
    (problem,) = parse_policy(with_line("zejzl.policy/1", "zejzl.policy/9").encode()).errors
    assert problem.path == ("schema",)
    assert problem.line == line_of("schema:")


def test_every_double_key_is_named_at_once() -> None:
    text = with_line("least_length: 12", "least_length: 12\n  least_length: 13\npassword: {}")
    first = line_of("  least_length")
    assert found(text) == [f"{first + 1}:3 yaml-double-key", f"{first + 2}:1 yaml-double-key"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", ["0:0 file-empty"]),
        (b"# nothing", ["0:0 file-empty"]),
        (b"[1, 2]", ["0:0 not-a-mapping"]),
        (b"word", ["0:0 not-a-mapping"]),
        (b"a: &x 1", ["1:4 yaml-anchor"]),
        (b"a: {b: *x}", ["1:8 yaml-anchor"]),
        (b"a: !!python/object:os.system 1", ["1:4 yaml-tag"]),
        (b"a: 1\n---\nb: 1", ["2:1 yaml-documents"]),
        (b"? [a]\n: 1", ["1:3 yaml-key"]),
        (b"a: [1", ["2:1 yaml-syntax"]),
        (b"a: \xff", ["1:1 not-utf8"]),
        (b"[" * 40, ["1:17 file-too-large"]),
        (b"a: [" + b"1," * 30_000 + b"]", ["1:39999 file-too-large"]),
        (b"#" * (MAX_BYTES + 1), ["0:0 file-too-large"]),
    ],
)
def test_what_is_no_policy_file_is_refused_in_one_line(data: bytes, expected: list[str]) -> None:
    assert found(data) == expected


def test_a_control_character_is_refused_and_never_printed() -> None:
    loaded = parse_policy(b"a: \x1b[31m")
    assert [each.code for each in loaded.problems] == ["yaml-syntax"]
    assert all(str(each).isprintable() for each in loaded.problems)


def test_values_are_shown_cut_and_without_control_characters() -> None:
    text = with_line("least_length: 12", 'least_length: "' + "\\e[31m" + "x" * 5000 + '"')
    (problem,) = parse_policy(text.encode()).errors
    assert len(str(problem)) < 300
    assert str(problem).isprintable()


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_give_an_answer(data: bytes) -> None:
    assert parse_policy(data).problems


@given(st.data())
def test_a_damaged_policy_gives_an_answer(data: st.DataObject) -> None:
    raw = bytearray(TEXT.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    loaded = parse_policy(bytes(raw))
    assert (loaded.policy is None) == bool(loaded.errors)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    assert "there is no file" in str(load_policy(tmp_path / "none.yaml").problems[0])
    assert "is a directory" in str(load_policy(tmp_path).problems[0])
    assert "cannot be read" in str(load_policy(Path("a\0b")).problems[0])
    with pytest.raises(InvalidInput, match="there is no file"):
        read_policy(tmp_path / "none.yaml")


def test_many_errors_are_counted_instead_of_listed() -> None:
    errors = [PolicyProblem("x", f"fault {number}", path=("rate",)) for number in range(30)]
    text = str(refusal(errors))
    assert "rate: error: fault 19." in text
    assert "fault 20" not in text
    assert "and 10 more" in text


def test_a_problem_without_any_place_speaks_of_the_policy() -> None:
    assert PolicyProblem("x", "wrong", is_error=False).place == "policy"
    assert PolicyProblem("x", "wrong", file="f").place == "f"
