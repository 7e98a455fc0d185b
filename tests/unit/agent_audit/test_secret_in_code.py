"""Secrets, and what only looks like one. They are put together here, so that no scan of this file finds them."""

import pytest

from tests.unit.agent_audit.conftest import Audit
from zejzl_ray.agent_audit.rules.secret_shapes import shapes_in

RULE = "secret-in-code"
WORD = "hunter" + "22"
TOKEN = "a8f5" + "f167f44f4964e6c998"

NAMED = [
    "password = '@'",
    "DB_PASSWORD = '@'",
    "self.db_password = '@'",
    "config['api_key'] = '@'",
    "settings = {'secret_key': '@'}",
    "connect(user='a', passwd='@')",
    "def f(password='@'): ...",
    "def f(*, token: str = '@'): ...",
    "class A:\n    api_token: str = '@'",
    "if password == '@': ...",
    "if (token := '@'): ...",
    "import os\nkey = os.environ.get('OPENAI_API_KEY', '@')",
    "import os\nkey = os.getenv('OPENAI_API_KEY', default='@')",
    "SECRET_KEY = b'@'",
    "f(**{'authorization': '@'})",
]
SHAPES = [
    "AK" + "IAZ7QK4MWP2RTN6VBH",
    "ghp_" + "a1B2" * 9,
    "glpat-" + "a1B2" * 5,
    "sk-" + "a1B2" * 8,
    "sk-ant-" + "a1B2" * 8,
    "xai-" + "a1B2" * 10,
    "AIza" + "a1B2c" * 7,
    "hf_" + "aBcD" * 9,
    "xox" + "b-1234567890-abc",
    "eyJ" + "hbGciOiJIUzI1NiJ9" + ".eyJ" + "zdWIiOiIxMjM0In0" + ".c2lnbmF0dXJlYWJj",
    "-----BEGIN RSA " + "PRIVATE KEY-----",
    "Bearer " + "a1B2" * 8,
    "postgresql://app:" + "s3cr3tpw" + "@db.local/x",
]


@pytest.mark.parametrize("text", NAMED)
@pytest.mark.parametrize("value", [WORD, TOKEN])
def test_a_value_under_a_secret_name_is_found_and_not_repeated(audit: Audit, text: str, value: str) -> None:
    (found,) = audit(text.replace("@", value), rule=RULE)
    assert value not in f"{found.message} {found.remedy}"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("text", ["x = f('@')", "# the key is @\n", "def f():\n    '''Use @ here.'''"])
def test_a_known_shape_is_found_wherever_it_stands(audit: Audit, text: str, shape: str) -> None:
    (found,) = audit(text.replace("@", shape), rule=RULE)
    assert shape not in found.message
    line = text.replace("@", shape).split("\n")[found.line - 1]
    assert line[found.column - 1 :].startswith(shape[:8])


def test_a_shape_under_a_secret_name_is_one_finding(audit: Audit) -> None:
    assert len(audit(f"api_key = '{SHAPES[3]}'", rule=RULE)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "password = ''",
        "password = None",
        "password = get()",
        "password = 'change-me'",
        "password = 'password'",
        "password = '***'",
        "password = '<your password>'",
        "password = '${DB_PASSWORD}'",
        "password = f'{a}{b}'",
        "password = 'Type it in here'",
        "password_file = '/run/secrets/db12345'",
        "api_key = 'OPENAI_API_KEY'",
        "api_key = 'sk-your-key-here-1234567890abcdef'",
        "token = 'access_token'",
        "token = 'abc'",
        "token_url = 'https://a.example/token1234567'",
        "token = '/api/v1/token12345'",
        "max_tokens = '4096abcdefgh'",
        "key = 'a8f5f167f44f4964'",
        "if token == 'access': ...",
        "if password == other == 'hunter22': ...",
        "import enum\nclass Kind(enum.StrEnum):\n    TOKEN = 'access1234567'",
        "d.get('password')",
        "x['a'].password = 3",
        "address = 'redis://user:<password>@host'",
        "address = f'redis://{user}:{word}@host'",
        "address = 'postgres://app:changeme@db'",
        "address = 'redis://[[username]:[password]]@host'",
        "id = 'AKIA" + "IOSFODNN7EXAMPLE'",
        "header = 'Bearer token'",
        "a, password = read()",
    ],
)
def test_a_placeholder_a_name_or_a_path_is_no_secret(audit: Audit, text: str) -> None:
    assert audit(text, rule=RULE) == []


def test_two_kinds_at_one_place_are_one() -> None:
    assert len(shapes_in("sk-" + "ant-" + "a1B2" * 8)) == 1
