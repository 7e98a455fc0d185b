"""Why something failed, in a few words that may be shown to others."""

from typing import Final

from zejzl_ray.errors import ZejzlError

MAX_REASON_CHARS: Final = 200


def reason_of(error: BaseException) -> str:
    """Return class and message of one of our errors, the class alone of any other, at most 200 characters.

    What a library writes into its errors may hold addresses with passwords; ours hold none.
    """
    text = type(error).__name__
    if isinstance(error, ZejzlError) and error.message:
        text = f"{text}: {error.message}"
    return shortened(text)


def shortened(text: str) -> str:
    """Return the text, cut to 200 characters."""
    return text if len(text) <= MAX_REASON_CHARS else text[: MAX_REASON_CHARS - 3] + "..."
