"""What `prepare_` did to a network, as a record and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from asi_core.units import DASH, format_bytes, format_count, three_digits

_MOST_OTHERS = 5


@dataclass(frozen=True, slots=True)
class LayerReport:
    """A trained layer.

    Attributes:
        kind: its type, with the kernel's size.
        method: how its input is kept, with settings.
        input_shape: in the example; None without one.
        before_bytes, now_bytes: that a step keeps for it with the plain layer, and as prepared;
            None without an example. An input that two layers read counts for the first.
    """

    name: str
    kind: str
    method: str
    input_shape: tuple[int, ...] | None
    before_bytes: int | None
    now_bytes: int | None


@dataclass(frozen=True, slots=True)
class OtherReport:
    """A part of the network without trained weights that keeps something all the same.

    Attributes:
        reason: why it does; empty where it is not known.
    """

    name: str
    nbytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class PreparationReport:
    """What is trained and what a step keeps for backward, loss excluded.

    Attributes:
        before_bytes: of all that a step keeps if the same layers are trained as plain layers and
            all else is frozen; None without an example.
        now_bytes: the same as prepared.
        trained_parameters, parameters: how many numbers are trained, and how many there are.
        others: what is kept outside of the trained layers, largest first.
        rounded: name of a layer whose own gradient is approximate -> bits in which it keeps what
            that gradient needs; empty unless `activation_bits` are set.
    """

    layers: tuple[LayerReport, ...]
    before_bytes: int | None
    now_bytes: int | None
    trained_parameters: int
    parameters: int
    others: tuple[OtherReport, ...]
    rounded: Mapping[str, int] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """How many times fewer bytes a step keeps; None without an example."""
        if self.before_bytes is None or self.now_bytes is None:
            return None
        return self.before_bytes / max(self.now_bytes, 1)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: bytes and counts."""
        return {**asdict(self), "ratio": self.ratio}

    def __str__(self) -> str:
        header = ("layer", "kind", "method", "input", "before", "now", "ratio")
        rows = [
            (
                layer.name,
                layer.kind,
                layer.method,
                DASH if layer.input_shape is None else " x ".join(map(str, layer.input_shape)),
                *_compared(layer.before_bytes, layer.now_bytes),
            )
            for layer in self.layers
        ]
        total = ("kept per step", "", "", "", *_compared(self.before_bytes, self.now_bytes))
        lines = _table([header, *rows, total])
        share = 100 * self.trained_parameters / max(self.parameters, 1)
        lines.append(
            f"trained parameters: {format_count(self.trained_parameters, '')} of "
            f"{format_count(self.parameters, '')} ({three_digits(share)} %)"
        )
        if self.rounded:
            bits = ", ".join(map(str, sorted(set(self.rounded.values()))))
            lines.append(
                f"approximate: {len(self.rounded)} layers keep what their gradients need in {bits} "
                "bits"
            )
        lines += [
            f"also kept: {other.name}, {format_bytes(other.nbytes)}"
            + (f" ({other.reason})" if other.reason else "")
            for other in self.others[:_MOST_OTHERS]
        ]
        if more := self.others[_MOST_OTHERS:]:
            rest = format_bytes(sum(other.nbytes for other in more))
            lines.append(f"also kept: {len(more)} other parts, {rest} together")
        return "\n".join(lines)


def _compared(before: int | None, now: int | None) -> tuple[str, str, str]:
    if before is None or now is None:
        return DASH, DASH, DASH
    words = f"{three_digits(before / max(now, 1))}x less"
    if now > before:
        words = f"{three_digits(now / max(before, 1))}x more"
    return format_bytes(before), format_bytes(now), words


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    numeric = len(widths) - 3
    return [
        "  ".join(
            cell.rjust(width) if column >= numeric else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
