"""What a secret looks like, and what only looks like one."""

import re
from typing import Final

_SHAPES: Final = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("a private key", r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
        ("an AWS access key", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
        ("a GitHub token", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,})"),
        ("a GitLab token", r"\bglpat-[A-Za-z0-9_-]{20,}"),
        ("an API key of a language model", r"\bsk-(?:ant-|proj-|or-)?[A-Za-z0-9_-]{20,}"),
        ("an API key of a language model", r"\b(?:xai-|gsk_)[A-Za-z0-9]{40,}"),
        ("a Google API key", r"\bAIza[0-9A-Za-z_-]{35}"),
        ("a Hugging Face token", r"\bhf_[A-Za-z0-9]{30,}"),
        ("a Slack token", r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
        ("a Stripe key", r"\b[rs]k_live_[A-Za-z0-9]{20,}"),
        ("a token of a package registry", r"\b(?:npm_[A-Za-z0-9]{36}|pypi-AgEI[A-Za-z0-9_-]{20,})"),
        ("a signed token", r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
        ("a bearer token", r"(?i)\bbearer\s+[A-Za-z0-9._~+/-]{20,}"),
        ("a password in an address", r"\b[a-z][a-z0-9+]*://[^\s/:@'\"{}$<]*:(?P<value>[^\s/@'\"{}$<>()\[\]]+)@[\w.\[-]"),
    )
)  # fmt: skip
_PLACEHOLDER: Final = re.compile(
    r"(?i)^[\W_]*$|^(.)\1{3,}$|x{4,}|\*{3}|\.{3}|…|[<>{}]|\$\w|%\(|%s"
    r"|change[-_ ]?(me|this|it)|replace[-_ ]?(me|this|with)|your[-_ ]|\byour|my[-_](secret|token|password|key|api)"
    r"|place[-_ ]?holder|example|sample|dummy|fake|redacted|hidden|masked|insert|todo|fixme"
    r"|not[-_ ]?(set|used|real|a)\b"
    r"|^(none|null|nil|undefined|unset|empty|missing|unknown|default|test(ing)?|foo(bar)?|bar|bearer|basic|digest|jwt"
    r"|guest|oauth2?|apikey|anonymous|user(name)?|true|false|str(ing)?|required|optional|value|password|pass|passwd|pwd)$"
)
_A_NAME: Final = re.compile(r"(?i)^[a-z]*([-_.:/ ]?[a-z]+)*$")
_SECRET_WORDS: Final = re.compile(
    r"(?i)token|secret|passw|passphrase|credential|auth|key|bearer|login|session"
)
_ENVIRONMENT: Final = re.compile(r"^[A-Z][A-Z0-9]*(_[A-Z0-9]+)+$")
_PATH_OR_ADDRESS: Final = re.compile(r"^([a-z][a-z0-9+.-]*://|/|\./|~/)")
_PASSWORD_NAME: Final = re.compile(r"(?i)(passw(or)?d|passphrase|pwd)\d*$")
_SECRET_NAME: Final = re.compile(
    r"(?i)(^|[_.-])(passw(or)?d|passphrase|pwd|secret([_-]?(access[_-]?)?key)?|(api|access|private|signing|encryption|master)[_-]?key"
    r"|(auth|access|refresh|api|bot|bearer)?[_-]?token|authorization|credentials?)\d*$|(?<=[a-z])(Password|Secret|Token|ApiKey)$"
    r"|^(apikey|authtoken|accesstoken)$"
)


def is_secret_name(name: str) -> bool:
    """Tell whether what has this name is a secret: ``db_password``, but not ``password_file`` or ``max_tokens``."""
    return _SECRET_NAME.search(name) is not None


def is_secret_value(name: str, value: str) -> bool:
    """Tell whether a text under such a name is a secret, and not a placeholder, a path or the name of something."""
    if _PLACEHOLDER.search(value) or _ENVIRONMENT.match(value) or _PATH_OR_ADDRESS.match(value):
        return False
    if any(letter.isspace() for letter in value) or (_A_NAME.match(value) and _SECRET_WORDS.search(value)):
        return False
    if _PASSWORD_NAME.search(name):
        return len(value) >= 4
    has_digit, has_letter = any(map(str.isdigit, value)), any(map(str.isalpha, value))
    return len(value) >= 8 and ((has_digit and has_letter) or (len(value) >= 16 and not _A_NAME.match(value)))


def shapes_in(text: str) -> list[tuple[int, str]]:
    """Return place and kind of all that is a secret by its shape, wherever it stands in a text."""
    found: dict[int, str] = {}
    for kind, pattern in _SHAPES:
        for match in pattern.finditer(text):
            value = match.groupdict().get("value") or match.group()
            if not _PLACEHOLDER.search(value):
                found.setdefault(match.start(), kind)
    return sorted(found.items())
