import pytest
from pydantic import SecretStr

from zejzl_ray.contracts.policy import PasswordPolicy
from zejzl_ray.errors import InvalidInput
from zejzl_ray.security.password_policy import normalised, require_good, why_weak

POLICY = PasswordPolicy()


def why(password: str, user: str = "ada") -> str:
    return why_weak(SecretStr(password), user, POLICY)


@pytest.mark.parametrize(
    "password",
    [
        "gravel-otter-lamp-77",
        "x9$Kd!mQ2_vT",
        "der mond ist aufgegangen",
        "\u0434\u043e\u043c-\u0440\u0435\u043a\u0430-\u043a\u043b\u044e\u0447-\u0433\u043e\u0440\u0430",
        "tiger orange winter coffee",  # four common words are a passphrase
        "adasomethingelse",
        "k" + "🦊🐙🦉🐢🐝🦔🐌🐬🦂🐧🦕",
    ],
)
def test_a_long_password_without_a_pattern_is_good_whatever_kinds_of_characters_it_has(password: str) -> None:
    assert why(password) == ""
    require_good(SecretStr(password), "ada", POLICY)


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("short-one-x", "fewer than 12"),
        ("", "fewer than 12"),
        ("x9$Kd!mQ2_vT" * 100, "more than 1024"),
        ("aaaaaaaaaaaaaa", "repeats"),
        ("abababababab", "repeats"),
        ("xyz1xyz1xyz1xyz1", "repeats"),
        ("1122112211221133", "repeats"),
        ("abcdefghijklmnop", "run of"),
        ("0987654321098", "run of"),
        ("qwertyuiopasdf", "run of"),
        ("1qaz2wsx3edc4rfv", "run of"),
        ("qwertyuiop-1234", "run of"),
        ("password2024!", "tried first"),
        ("P@ssw0rd123456", "tried first"),
        ("admin9999999912", "tried first"),
        ("12345678!password", "tried first"),
        ("Qwerty-8520741963", "tried first"),
        ("WelcomeSummer!!", "tried first"),
        ("correct horse battery staple", "tried first"),
        ("letmeinplease1", "tried first"),
        (
            "\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44\uff12\uff10\uff12\uff14",
            "tried first",
        ),  # wide forms look like the others
    ],
)
def test_a_weak_password_is_refused_with_the_reason(password: str, said: str) -> None:
    assert said in why(password)


@pytest.mark.parametrize("password", ["lovelace-1815", "!!LoveLace2024", "lovelacelovelace"])
def test_the_name_with_trimmings_is_no_password(password: str) -> None:
    assert "name" in why(password, user="Lovelace")


def test_a_short_name_is_no_password_either() -> None:
    policy = PasswordPolicy(least_length=8)
    assert "name" in why_weak(SecretStr("ada-1815!!!"), "Ada", policy)
    assert why_weak(SecretStr("adamant-zebra-quilt"), "Ada", policy) == ""


def test_the_least_length_is_that_of_the_policy() -> None:
    assert why_weak(SecretStr("x9$Kd!mQ"), "ada", PasswordPolicy(least_length=8)) == ""
    assert "16" in why_weak(SecretStr("x9$Kd!mQ2_vT"), "ada", PasswordPolicy(least_length=16))


def test_a_refusal_says_what_to_do_and_never_what_was_typed() -> None:
    with pytest.raises(InvalidInput) as caught:
        require_good(SecretStr("hunter2hunter"), "ada", POLICY)
    assert "hunter2" not in str(caught.value)
    assert "at least 12" in caught.value.remedy


def test_texts_that_look_the_same_are_the_same_password() -> None:
    assert normalised(SecretStr("caf\u00e9 \ufb01ne")) == normalised(SecretStr("cafe\u0301 fine"))
    assert normalised(SecretStr("a\x00b")) == b"a\x00b"


def test_half_a_character_is_hashed_and_raises_nothing() -> None:
    assert normalised(SecretStr("lone \ud800 half")) == b"lone \xed\xa0\x80 half"
