"""The problem documents that HAProxy sends by itself. Imports little: the wrapper must start fast."""

import json
from dataclasses import dataclass
from typing import Final

REQUEST_ID_VARIABLE: Final = "txn.zejzl_request_id"
_MEDIA_TYPE: Final = "application/problem+json"
_RETRY_AFTER_STATUSES: Final = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class Reply:
    """A problem document as HAProxy's configuration wants it."""

    status: int
    code: str
    title: str
    detail: str
    remedy: str

    def arguments(self) -> str:
        """Return the arguments of ``http-error`` and ``return`` after the status."""
        document = {
            "type": f"urn:zejzl:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "remedy": self.remedy,
            "request_id": "REQUEST_ID",
            "errors": [],
        }
        text = json.dumps(document).replace("%", "%%").replace("'", "\\u0027")
        text = text.replace("REQUEST_ID", f"%[var({REQUEST_ID_VARIABLE})]")
        retry_after = " hdr retry-after 1" if self.status in _RETRY_AFTER_STATUSES else ""
        return f"content-type {_MEDIA_TYPE} lf-string '{text}' hdr cache-control no-store{retry_after}"


_AGAIN: Final = "Try again with the same X-Request-ID."
# what HAProxy answers by itself, and what stands in for replies of Serve that are not problem documents
REPLIES: Final = tuple(
    Reply(*row)
    for row in (
        (
            400,
            "invalid_input",
            "The input cannot be used",
            "The request is not valid HTTP/1.1.",
            "Correct it.",
        ),
        (403, "forbidden", "Not allowed", "The proxy refused the request.", ""),
        (404, "route_not_found", "Not found", "path: no such route.", "GET /openapi.json lists the routes."),
        (405, "method_not_allowed", "Method not allowed", "The path does not have this method.", ""),
        (408, "request_timeout", "Too slow", "The request did not arrive or end in time.", "Send it faster."),
        (413, "payload_too_large", "Too large", "body: too large.", "Send it in several requests."),
        (429, "overloaded", "Too much to do", "Too many requests at once.", "Try again after a second."),
        (
            500,
            "internal",
            "Internal error",
            "The request failed inside the cluster.",
            "Tell the operator the request id.",
        ),
        (
            501,
            "invalid_input",
            "Not implemented",
            "The proxy does not know this kind of request.",
            "Send HTTP/1.1.",
        ),
        (502, "service_unavailable", "Try again later", "The ingress went away while it answered.", _AGAIN),
        (503, "service_unavailable", "Try again later", "No ingress replica can take the request.", _AGAIN),
        (504, "deadline_exceeded", "Not done in time", "The ingress did not answer in time.", _AGAIN),
    )
)
NOT_FOUND: Final = next(reply for reply in REPLIES if reply.status == 404)
# Our application answers an unknown path itself. A plain 404 is Serve's, as long as it has no application yet, such as
# while the head starts again; a caller must not take it for "there is no such agent".
NOT_READY: Final = Reply(503, "service_unavailable", "Try again later", "The ingress is not up yet.", _AGAIN)
TOO_LARGE: Final = next(reply for reply in REPLIES if reply.status == 413)
LENGTH_REQUIRED: Final = Reply(
    411,
    "length_required",
    "Length required",
    "header.Content-Length: missing.",
    "Send the body with its length.",
)
