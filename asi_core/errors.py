"""What can go wrong because of what somebody asked for.

Every message is one sentence: the rule, the value that broke it, and the way out.
"""

from __future__ import annotations

from pydantic import ValidationError


class AsiError(Exception):
    """Base of all errors that are told to a person without a traceback."""


class InvalidInput(AsiError, ValueError):
    """A value outside what is allowed."""

    def __init__(self, rule: str, value: object, way_out: str) -> None:
        super().__init__(f"{rule}, got {value}: {way_out}.")


class Refused(AsiError):
    """Something that whoever asks may not do here."""


class Unavailable(AsiError):
    """Weights, images or a service that are needed and cannot be had or read."""


class Unsupported(AsiError):
    """A layer or a model that a method cannot treat."""


class NoClosedForm(Unsupported):
    """A method whose bytes and multiplies are not known by formula."""

    def __init__(self, label: str) -> None:
        super().__init__(f"{label} has no closed form: measure it.")


def one_sentence(error: Exception) -> str:
    """The message of `error` on a single line, without the noise of the validation library."""
    if isinstance(error, ValidationError):
        return "; ".join(_validation_sentence(detail) for detail in error.errors(include_url=False))
    return " ".join(str(error).split()) or type(error).__name__


def _validation_sentence(detail: object) -> str:
    assert isinstance(detail, dict)
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, AsiError):
        return one_sentence(cause)
    place = ".".join(str(part) for part in detail["loc"]) or "specification"
    rule = str(detail["msg"])
    rule = rule[0].lower() + rule[1:]
    if detail["type"] in ("missing", "extra_forbidden"):
        return f"{place}: {rule}."
    return f"{place}: {rule}, got {detail['input']!r}."
