"""What a method is: a frozen record of its settings, its gradients, and its closed-form cost.

A method's file holds both halves. The tensor half reaches `asi_core.linalg`, which imports torch
on first use only, so that accounting and pages can read the settings and the cost without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

from pydantic import BaseModel, ConfigDict

from asi_core import linalg
from asi_core.errors import NoClosedForm
from asi_core.fields import setting_fields
from asi_core.records import Convention, Geometry, LayerShape, Macs, Ranks

if TYPE_CHECKING:
    from torch import Tensor

# What a layer keeps from forward to backward; None stands for a factor that is the identity.
Saved: TypeAlias = "tuple[Tensor | None, ...]"


@dataclass
class WarmStart:
    """What a layer carries from one step to the next.

    Attributes:
        seed: of the layer's own random start, never the global generator's.
        ranks: found on the first batch, or planned; capped at every step to the sizes of its batch.
            Given ranks are the method's, and are not repeated here.
        factors: mode -> size x rank matrix of the latest step; finite.
        age: how many steps the factors have been carried on.
        initialised: whether a forward pass outside of backward made the factors: one within it,
            which is a checkpoint's, then repeats it.
        is_repeated: of the copy for such a pass: its input is projected onto the factors, which are
            its own already.
    """

    seed: int = 0
    ranks: Ranks | None = None
    factors: dict[int, Tensor] = field(default_factory=dict)
    age: int = 0
    initialised: bool = False
    is_repeated: bool = False


@dataclass(frozen=True, slots=True)
class MethodStyle:
    """How a method is drawn: a colour (hex), and the names of plotly's dash and marker."""

    color: str
    dash: str
    symbol: str


class Method(BaseModel, ABC):
    """Base of all methods. A subclass adds `kind`, its settings and the tensor half.

    A setting is a field with a `fields.Setting`: flags, boxes and sweeps follow from it.

    Attributes:
        kind: what specifications, flags and links call the method.
        label: what people call it.
        summary: what it keeps, in a sentence; by default the first of the class's docstring.
        style: how it is drawn; one of a palette by default.
        kept: what it keeps of an input, in a few words, where it does not project it.
        kept_energy: the share of the input's energy in what is kept, 0 to 1, where it is the same
            for all inputs.
        why_no_picture: why no picture of the input can be rebuilt from what is kept.
        replaces_layers: False where PyTorch's own layer already does what the method means.
        letters: whole numbers among the settings that closed forms read, and the letters that
            equations call them by.
        repeats_blocks: True where blocks of trained layers run again before their backward pass.
        alternatives: settings of which exactly one is given, if there are any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Any
    label: ClassVar[str]
    summary: ClassVar[str] = ""
    style: ClassVar[MethodStyle | None] = None
    kept: ClassVar[str] = "not measured"
    kept_energy: ClassVar[float | None] = None
    why_no_picture: ClassVar[str] = "This method rebuilds no input."
    replaces_layers: ClassVar[bool] = True
    letters: ClassVar[Mapping[str, str]] = {}
    repeats_blocks: ClassVar[bool] = False
    alternatives: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def class_kind(cls) -> str:
        """The kind of all methods of this class."""
        kind: str = cls.model_fields["kind"].default
        return kind

    @classmethod
    def described(cls) -> str:
        """What the method keeps, in a sentence."""
        first, _, _ = (cls.summary or cls.__doc__ or f"{cls.label}.").strip().partition("\n\n")
        return " ".join(first.split())

    @classmethod
    def usual(cls) -> Self:
        """The method where boxes begin: with its defaults, and the first of its alternatives."""
        given = {
            name: field.start
            for name, field in setting_fields(cls).items()
            if name in cls.alternatives[:1] or cls.model_fields[name].is_required()
        }
        return cls(**given)

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        """The method at a few settings, by which `asi_core.testing` tests it; by default the usual
        ones."""
        return (cls.usual(),)

    def is_exact(self, shape: LayerShape) -> bool:
        """Whether the weight gradient of such a layer is the exact one, whatever its input."""
        return False

    @property
    def settings_label(self) -> str:
        """The label with the settings that tell two runs of the same method apart: by default those
        that are not at their own default."""
        fields = setting_fields(type(self))
        changed = [(fields[n], v) for n, v in self if n in fields and v != fields[n].default]
        return ", ".join((self.label, *(f"{f.setting.name} {f.title(v)}" for f, v in changed)))

    @property
    def has_ranks(self) -> bool:
        """Whether what is kept has a multilinear rank."""
        return type(self).ranks_of is not Method.ranks_of

    @property
    def depends_on_images(self) -> bool:
        """Whether shapes alone do not tell how much is kept: ranks are found in the images, or
        planned on them."""
        return False

    @property
    def memory_budget(self) -> int | None:
        """Bytes that all trained layers together may keep, where the ranks of each are planned for
        that; None where they are not."""
        return None

    @classmethod
    def why_unsupported(cls, geometry: Geometry) -> str | None:
        """Why the method means nothing for such a layer; None if it does."""
        return None

    # Tensor half -------------------------------------------------------------------------------

    @abstractmethod
    def compress(
        self, x: Tensor, output_shape: tuple[int, ...], geometry: Geometry, memory: WarmStart
    ) -> Saved:
        """What is kept for backward of the input `x`: B x C x H x W, or B x ... x F.

        The first of what is kept may be the input itself or sums over it; what follows must not
        leave the range of the input's own type, in which it is kept unless it is narrower.

        Args:
            memory: read, and given new contents (never changed in place) for the next step.
        """

    @abstractmethod
    def weight_gradient(
        self,
        saved: Saved,
        grad_output: Tensor,
        weight_shape: tuple[int, ...],
        geometry: Geometry,
    ) -> Tensor:
        """Weight gradient, of `weight_shape`, from what `compress` kept."""

    def input_gradient(
        self,
        grad_output: Tensor,
        weight: Tensor,
        input_shape: tuple[int, ...],
        geometry: Geometry,
    ) -> Tensor:
        """Input gradient, of `input_shape`: exact, unless a method says otherwise."""
        return linalg.gradients.input_gradient(grad_output, weight, input_shape, geometry)

    def factors(self, x: Tensor, memory: WarmStart) -> tuple[Tensor | None, ...] | None:
        """The orthonormal factors on which `x` is kept, None for a method that does not project."""
        return None

    def ranks_of(self, saved: Saved) -> Ranks | None:
        """The multilinear rank in force in what was kept; None for a method without ranks."""
        return None

    # Closed-form half ----------------------------------------------------------------------------

    def ranks_for(self, shape: LayerShape) -> Ranks | None:
        """The ranks that the settings alone fix for a layer; None for a method without ranks.

        Raises:
            InvalidInput: if they depend on the data.
        """
        return None

    def keeps_input(self, shape: LayerShape, ranks: Ranks | None) -> bool:
        """Whether what is kept is the layer's input itself, which another layer may keep as well.

        Args:
            ranks: in force; None for a method without ranks.
        """
        return False

    @property
    def has_closed_form(self) -> bool:
        """Whether bytes and multiplies are known by formula. A method may leave both out: its runs
        are then measured alone, and have None for both."""
        own = type(self)
        return own.saved_bytes is not Method.saved_bytes and own.macs is not Method.macs

    def saved_bytes(self, shape: LayerShape, ranks: Ranks | None, convention: Convention) -> int:
        """Bytes kept from forward to backward, of an input in single precision.

        To be computed by + - * // ** and `asi_core.counting.ceil_div` alone: then the equation is
        shown as well (`costs.formulas`).

        Raises:
            NoClosedForm: if there is no formula.
        """
        raise NoClosedForm(self.label)

    def macs(self, shape: LayerShape, ranks: Ranks | None, convention: Convention) -> Macs:
        """Multiply-accumulates of one training step; otherwise as `saved_bytes`."""
        raise NoClosedForm(self.label)
