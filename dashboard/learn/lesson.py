"""The parts of a lesson."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from asi_core.errors import InvalidInput
from asi_core.figures.style import Drawing, Figure
from asi_core.units import THIN_SPACE, three_digits
from dashboard.learn.controls import Controls
from dashboard.links import quoted


@dataclass(frozen=True, slots=True)
class Question:
    """The question asked before anything is shown: Markdown, and a slider for the guess."""

    text: str
    label: str
    low: float
    high: float
    start: float
    unit: str
    step: float = 1

    def written(self, value: float) -> str:
        """A guess or the true value, with its unit."""
        return f"{three_digits(value)}{THIN_SPACE}{self.unit}"

    def parsed(self, text: str) -> float:
        """A guess from a link; raises InvalidInput unless it is within the slider's range."""
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not self.low <= value <= self.high:
            raise InvalidInput(
                f"a guess must be a number from {self.low:g} to {self.high:g}",
                quoted(text),
                "guess again below",
            )
        return value


@dataclass(frozen=True, slots=True)
class Reveal:
    """The answer.

    Attributes:
        meaning: explains the true number, as a phrase after it.
        plot: a figure with guess and truth marked.
        explanation: at most 120 words.
    """

    truth: float
    meaning: str
    plot: Figure
    caption: str
    explanation: str


@dataclass(frozen=True, slots=True)
class Lesson:
    """A lesson; its numbers come from the library and from runs when it is drawn.

    Attributes:
        slug: its name in links.
        picture: what the question is about, without the answer; and its caption.
        run: draws the second stage.
        reveal: gives the answer to a guess.
        thought, hint: the question to take home, and how to start on it.
    """

    slug: str
    title: str
    question: Callable[[], Question]
    picture: Callable[[], tuple[Figure | Drawing, str]]
    run: Callable[[Controls], None]
    reveal: Callable[[float], Reveal]
    thought: str
    hint: str
