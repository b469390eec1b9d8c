"""What a lesson is made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from asi_core.errors import InvalidInput
from asi_core.figures.lessons import Figure
from asi_core.units import THIN_SPACE, three_digits
from dashboard.learn.controls import Controls
from dashboard.links import quoted


@dataclass(frozen=True, slots=True)
class Question:
    """What a visitor is asked before anything is shown.

    Attributes:
        text: Markdown.
        label: of the slider.
        low, high, step, start: of the slider.
        unit: follows every guess.
    """

    text: str
    label: str
    low: float
    high: float
    step: float
    start: float
    unit: str

    def written(self, value: float) -> str:
        """A guess, or the truth, for people."""
        return f"{three_digits(value)}{THIN_SPACE}{self.unit}"

    def parsed(self, text: str) -> float:
        """A guess from a link.

        Raises:
            InvalidInput: if it is no number that the slider could have.
        """
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
        meaning: what the true number is, as a half sentence after it.
        plot: guess and truth, both marked.
        explanation: at most 120 words.
    """

    truth: float
    meaning: str
    plot: Figure
    caption: str
    explanation: str


@dataclass(frozen=True, slots=True)
class Lesson:
    """One lesson; what it says comes from the library and from runs when it is drawn.

    Attributes:
        slug: its name in links.
        run: draws the second stage.
        reveal: the answer to a guess.
        thought: the question to take home, and `hint` how to start on it.
    """

    slug: str
    title: str
    question: Callable[[], Question]
    run: Callable[[Controls], None]
    reveal: Callable[[float], Reveal]
    thought: str
    hint: str
