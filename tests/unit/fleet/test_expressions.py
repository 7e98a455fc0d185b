import pytest

from zejzl_ray.fleet.expressions import evaluate_boolean, evaluate_integer, expand, has_placeholder, is_sum

VARIABLES = {"A": "1", "WORD": "word", "EMPTY": "", "YES": "Yes"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain $A {A}", "plain $A {A}"),
        ("${A}", "1"),
        ("x${A}y${WORD}", "x1yword"),
        ("${NONE:-d}", "d"),
        ("${NONE:d}", "d"),
        ("${NONE:-}", ""),
        ("${EMPTY:-d}", "d"),
        ("${A:-d}", "1"),
        ("${EMPTY}", ""),
        ("${URL:-redis://localhost:6379/0}", "redis://localhost:6379/0"),
        ("${NONE:-${ALSO:-${A}}}", "1"),
        ("${A+7200}", "7201"),
        ("${PORT_OFFSET}", "0"),
        ("${PORT_OFFSET+7200}", "7200"),
        ("${EMPTY+5}", "5"),
        ("${A+${A}}", "2"),
    ],
)
def test_placeholders_are_replaced(text: str, value: str) -> None:
    assert expand(text, VARIABLES).value == value


def test_variables_that_are_not_set_stay_and_are_named_once() -> None:
    result = expand("${X}:${A}:${Y}:${X}", VARIABLES)
    assert result.value == "${X}:1:${Y}:${X}"
    assert result.unresolved == ("X", "Y")


@pytest.mark.parametrize(
    "text",
    [
        "${",
        "${A",
        "${}",
        "${1A}",
        "${A-x}",
        "${A+x}",
        "${WORD+1}",
        "a ${ b",
        "${A:-" * 12 + "x" + "}" * 12,
        "${N:-" * 12 + "x" + "}" * 12,
    ],
)
def test_text_that_is_no_placeholder_has_a_problem_or_a_value(text: str) -> None:
    result = expand(text, VARIABLES)
    assert (result.value is None) == bool(result.problem)


@pytest.mark.parametrize(
    "text", ["${", "${A", "${}", "${1A}", "${A-x}", "${A+x}", "${WORD+1}", "${N:-" * 12 + "x" + "}" * 12]
)
def test_bad_placeholders_say_what_is_wrong(text: str) -> None:
    assert expand(text, VARIABLES).problem


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7200", 7200),
        (" 7200 ", 7200),
        ("${PORT_OFFSET}+7200", 7200),
        ("${A}+7200", 7201),
        ("7200+${A}", 7201),
        ("7200 - ${A}", 7199),
        ("${A+7200}", 7201),
        ("${EMPTY}+7", 7),
        ("-5", -5),
        ("1+2+3", 6),
    ],
)
def test_numbers_and_sums_have_a_value(text: str, value: int) -> None:
    assert evaluate_integer(text, VARIABLES).value == value


def test_the_offset_can_be_set() -> None:
    assert evaluate_integer("${PORT_OFFSET}+7200", {"PORT_OFFSET": "1000"}).value == 8200


@pytest.mark.parametrize("text", ["x", "", "1.5", "${WORD}+1", "1++2", "${A", " " * 5000 + "x", "9" * 400])
def test_what_is_no_number_says_so(text: str) -> None:
    result = evaluate_integer(text, VARIABLES)
    assert result.value is None
    assert result.problem


def test_a_number_of_an_unset_variable_names_it() -> None:
    result = evaluate_integer("${NONE}+1", VARIABLES)
    assert (result.value, result.unresolved, result.problem) == (None, ("NONE",), "")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("Enabled", True),
        ("off", False),
        ("${YES}", True),
        ("${RTAP_ENABLED:-false} == 'false'", True),
        ("${RTAP_ENABLED:-true} == 'false'", False),
        ("${YES} == 'true'", True),
        ("${WORD} == word", True),
        ("${WORD} != 'word'", False),
        ('"${WORD}" != other', True),
        ("${EMPTY} == ''", True),
    ],
)
def test_words_and_comparisons_are_true_or_false(text: str, value: bool) -> None:
    assert evaluate_boolean(text, VARIABLES).value is value


def test_a_truth_that_is_none_says_so() -> None:
    assert evaluate_boolean("perhaps", VARIABLES).problem
    assert evaluate_boolean("${A", VARIABLES).problem
    assert evaluate_boolean("${NONE} == 'x'", VARIABLES).unresolved == ("NONE",)


@pytest.mark.parametrize("text", ["${A}+1", "1+${A}", "${A+1}", "${A} - 3", "${A}+1+2"])
def test_sums_are_told_by_their_shape(text: str) -> None:
    assert is_sum(text)


@pytest.mark.parametrize(
    "text", ["1+2", "${A}", "x${A}+1", "${A", "http://${A}:80", "${A}" + " " * 300 + "+1"]
)
def test_other_texts_are_no_sums(text: str) -> None:
    assert not is_sum(text)


def test_a_placeholder_is_seen() -> None:
    assert has_placeholder("a${")
    assert not has_placeholder("a$b{}")
