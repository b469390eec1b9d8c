"""Bytes kept for backward in one step, by formula and measured in several configurations."""

from __future__ import annotations

from dataclasses import dataclass, field, fields


@dataclass(frozen=True, slots=True)
class ComparedBytes:
    """The same step, kept in four ways; each field has a title.

    Attributes:
        formula: bytes that the trained layers keep by the method, in the `exact` convention; None
            for a method without closed form.
        vanilla: bytes that plain PyTorch keeps for the whole trained part.
        lean_vanilla: with lean layers around the trained ones, whose inputs are kept exactly.
        lean: with lean layers, and the trained layers' inputs kept by the method.
    """

    formula: int | None = field(metadata={"title": "by formula"})
    vanilla: int = field(metadata={"title": "plain PyTorch"})
    lean_vanilla: int = field(metadata={"title": "lean, exact inputs"})
    lean: int = field(metadata={"title": "lean, with the method"})


COMPARED_TITLES: dict[str, str] = {one.name: one.metadata["title"] for one in fields(ComparedBytes)}
