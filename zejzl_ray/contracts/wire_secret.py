"""A secret that may travel: hidden in every repr, log and dump, written out in JSON alone."""

from typing import Annotated

from pydantic import PlainSerializer, SecretStr, StringConstraints, WithJsonSchema

# JSON is the wire; a dump to Python objects, a repr or a log line shows asterisks.
WireSecret = Annotated[
    SecretStr,
    PlainSerializer(lambda value: value.get_secret_value(), return_type=str, when_used="json"),
    # of an answer: without this its schema would say that it is never sent
    WithJsonSchema({"type": "string", "format": "password"}, mode="serialization"),
]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256, lower case hexadecimal."""
