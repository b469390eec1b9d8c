"""Errors caused by the user's request or by the installation.

Every message is one sentence: the rule, the value that broke it, and the remedy.
"""

from __future__ import annotations

from pydantic import ValidationError

# Limits for pydantic's messages: values and field paths may be arbitrarily long.
_LONGEST_VALUE = 80
_MOST_DETAILS = 4


class AsiError(Exception):
    """Base of all errors that are shown to the user without a traceback."""


class InvalidInput(AsiError, ValueError):
    """A value that is not allowed."""

    def __init__(self, rule: str, value: object, way_out: str) -> None:
        super().__init__(f"{rule}, got {value}: {way_out}.")


class Refused(AsiError):
    """An action that the user may not take on this installation."""


class Unavailable(AsiError):
    """Weights, images or a service that are needed but missing, unreachable or unreadable."""


class Unsupported(AsiError):
    """A layer or a model that a method does not support."""


class NoClosedForm(Unsupported):
    """A method without closed form of its bytes and MACs."""

    def __init__(self, label: str) -> None:
        super().__init__(f"{label} has no closed form: measure it.")


def shortened(text: str, most: int) -> str:
    """`text` with its middle cut, so that it has at most `most` characters."""
    if len(text) <= most:
        return text
    first = 2 * most // 3
    return f"{text[:first]}…{text[first + 1 - most :]}"


def one_sentence(error: Exception) -> str:
    """The message of `error` on a single line, without pydantic's boilerplate."""
    if isinstance(error, ValidationError):
        details = error.errors(include_url=False)
        sentences = [_validation_sentence(detail) for detail in details[:_MOST_DETAILS]]
        if others := len(details) - len(sentences):
            sentences.append(f"and {others} more")
        return "; ".join(sentences)
    return " ".join(str(error).split()) or type(error).__name__


def _validation_sentence(detail: object) -> str:
    assert isinstance(detail, dict)
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, AsiError | ValidationError):
        return one_sentence(cause)
    place = ".".join(str(part) for part in detail["loc"]) or "specification"
    place = shortened(place, _LONGEST_VALUE)
    rule = str(detail["msg"])
    rule = rule[0].lower() + rule[1:]
    if detail["type"] in ("missing", "extra_forbidden"):
        return f"{place}: {rule}."
    return f"{place}: {rule}, got {shortened(repr(detail['input']), _LONGEST_VALUE)}."
