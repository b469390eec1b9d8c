"""One step's bytes kept for backward, counted by formula and made to be kept in other ways."""

from __future__ import annotations

from dataclasses import dataclass, field, fields


@dataclass(frozen=True, slots=True)
class ComparedBytes:
    """The same step, kept in four ways; each field has its title.

    Attributes:
        formula: what the trained layers keep by the method, in the `exact` convention; None for a
            method without closed form.
        vanilla: what plain PyTorch really keeps of the whole trained part.
        lean_vanilla: with lean layers around the trained ones, whose inputs are kept exactly.
        lean: with lean layers, and the trained layers' inputs kept by the method.
    """

    formula: int | None = field(metadata={"title": "by formula"})
    vanilla: int = field(metadata={"title": "plain PyTorch"})
    lean_vanilla: int = field(metadata={"title": "lean, exact inputs"})
    lean: int = field(metadata={"title": "lean, with the method"})


COMPARED_TITLES: dict[str, str] = {one.name: one.metadata["title"] for one in fields(ComparedBytes)}
