"""Records of a namespace as JSON lines: readable without this program, and of no store's own form."""

import base64
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, Final

import orjson

from zejzl_ray.errors import InvalidInput
from zejzl_ray.store.image import (
    ImageCommitId,
    ImageEntry,
    ImageHead,
    ImageLog,
    ImageLogEntry,
    Record,
)

# The meaning of the lines; grows when an older program would misread them.
STORE_LAYOUT: Final = 1
_MAX_LINE_BYTES: Final = 512 * 1024 * 1024  # a value of 64 MiB, each byte escaped


def write_line(record: Record) -> bytes:
    """Return the line of a record, with its end. Values are text where they are UTF-8, else base64."""
    fields: dict[str, Any]
    match record:
        case ImageHead(namespace=namespace, epoch=epoch, commits=commits):
            fields = {"namespace": namespace, "epoch": epoch, "commits": commits}
        case ImageCommitId(commit_id=commit_id, number=number):
            fields = {"commit_id": commit_id, "number": number}
        case ImageEntry(key=key, version=version, expires_at_s=expires_at_s, value=value):
            fields = {"key": key, "version": version, **_value(value)}
            if expires_at_s is not None:
                fields["expires_at_s"] = expires_at_s
        case ImageLog(log=log, last_index=last_index):
            fields = {"log": log, "last_index": last_index}
        case ImageLogEntry(index=index, value=value):
            fields = {"index": index, **_value(value)}
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)


def read_lines(file: BinaryIO, place: str) -> Iterator[Record]:
    """Yield the records of a file of lines.

    Args:
        file: from where it stands now.
        place: what the file is called, for messages.

    Raises:
        InvalidInput: a line is none of the kinds; names its number.
    """
    for number, line in enumerate(_lines(file), 1):
        try:
            yield _record(orjson.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InvalidInput(
                f"{place}: line {number} is no record of a store.", "Take another back-up."
            ) from None


def _lines(file: BinaryIO) -> Iterable[bytes]:
    while line := file.readline(_MAX_LINE_BYTES):
        yield line


def _value(value: bytes) -> dict[str, str]:
    try:
        return {"text": value.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _record(fields: dict[str, Any]) -> Record:
    if "key" in fields:
        expires_at_s = fields.get("expires_at_s")
        return ImageEntry(
            _text(fields["key"]),
            _number(fields["version"]),
            None if expires_at_s is None else float(expires_at_s),
            _bytes(fields),
        )
    if "index" in fields:
        return ImageLogEntry(_number(fields["index"]), _bytes(fields))
    if "log" in fields:
        return ImageLog(_text(fields["log"]), _number(fields["last_index"]))
    if "commit_id" in fields:
        return ImageCommitId(_text(fields["commit_id"]), _number(fields["number"]))
    return ImageHead(_text(fields["namespace"]), _number(fields["epoch"]), _number(fields["commits"]))


def _bytes(fields: dict[str, Any]) -> bytes:
    if "text" in fields:
        return _text(fields["text"]).encode()
    return base64.b64decode(_text(fields["base64"]), validate=True)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError
    return value


def _number(value: Any) -> int:
    if type(value) is not int:
        raise TypeError
    return value
