"""Secrets that stand in a startup configuration themselves."""

import re
from collections.abc import Iterable
from typing import Final

from pydantic import TypeAdapter, ValidationError

from zejzl_ray.contracts.secrets import REFERENCE, SecretName
from zejzl_ray.fleet.drafts import Draft, FleetContext
from zejzl_ray.fleet.expressions import FALSE_WORDS, TRUE_WORDS, expand
from zejzl_ray.fleet.finding import Finding, error, warning
from zejzl_ray.fleet.model import AgentDeclaration, MachineDeclaration
from zejzl_ray.log import is_secret_name, redact

_NAME: Final = TypeAdapter[str](SecretName)
# In this file it would be the variable "secret" with a default.
_INSIDE: Final = re.compile(rf"\$\{{{REFERENCE}[^-]")
# A name such as TOKEN_URL or API_KEY_FILE speaks of a secret and does not hold one.
_ABOUT: Final = re.compile(
    r"(?i)_(file|path|dir|folder|mount|url|uri|host|port|address|name|id|type|kind|mode|header|prefix|algorithm|issuer"
    r"|audience|scopes?|provider|backend|store|version|policy|ttl|expiry|lifetime|limit|count|length)s?$"
)
_PATH: Final = re.compile(r"(~|\.{1,2})?(/[\w.@-]+)+/?")
_NUMBER: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?\s*(%|ms|s|m|min|h|d|b|[kmg]i?b?)?", re.IGNORECASE)
_PLACEHOLDER: Final = re.compile(r"\$\{[^{}]*\}")


class SecretValues:
    """An environment variable holds the reference ``secret:NAME``, never the secret.

    What the file declares is kept in the registry, where everybody sees it who may look up an agent, and stands in the
    environment of every process. Judged is the text of the file, not what placeholders become: the defaults in them
    count, variables do not.
    """

    name = "secret-value"

    def check(self, context: FleetContext) -> Iterable[Finding]:
        """Return one warning for each secret that is written down, and an error for each broken reference."""
        for machine in context.machines:
            yield from _checked(machine, machine.declaration.environment, "agent:NAME")
        # Those that are switched off too: the file has their secrets all the same.
        for agent in context.agents:
            yield from _checked(agent, agent.declaration.environment, f"agent:{agent.name}")


def _checked(
    draft: Draft[MachineDeclaration] | Draft[AgentDeclaration], environment: Iterable[str], reader: str
) -> Iterable[Finding]:
    for name in environment:
        place = draft.where(f"environment.{name}")
        text = draft.places.get(f"environment.{name}", place).text
        path = f"{draft.path_of('environment')}.{name}"
        # No message has the value: a report is printed, logged and sent around.
        if _INSIDE.search(text) or text.strip().startswith(REFERENCE):
            if not (text.startswith(REFERENCE) and _is_name(text.removeprefix(REFERENCE))):
                yield error(
                    "secret-reference",
                    f"{path} refers to a secret in a form that cannot be read",
                    place,
                    remedy=f"Write {REFERENCE}NAME as the whole value; a name has 1 to 128 letters, digits, _ . "
                    "and -, and begins with a letter or _.",
                    path=path,
                    subject=name,
                )
        elif _is_secret(name, text):
            secret = name if _is_name(name) else "NAME"
            yield warning(
                "secret-literal",
                f"{path} seems to hold a secret itself",
                place,
                remedy=f"Choose a new one, store it with `zejzl secrets set {secret} --for {reader}`, and write "
                f"{REFERENCE}{secret} here.",
                path=path,
                subject=name,
            )


def _is_name(text: str) -> bool:
    try:
        _NAME.validate_python(text)
    except ValidationError:
        return False
    return True


def _is_secret(name: str, text: str) -> bool:
    """Whether a variable holds a secret: by its name, or because a password stands in an address."""
    written = _PLACEHOLDER.sub("", expand(text, {}).value or text).strip()
    if redact(written) != written:
        return True
    if not is_secret_name(name) or _ABOUT.search(name):
        return False
    is_word = written.lower() in TRUE_WORDS | FALSE_WORDS
    return not (is_word or _NUMBER.fullmatch(written) or _PATH.fullmatch(written))
