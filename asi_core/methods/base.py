"""The base class of methods: a frozen record of settings, gradients and closed-form costs.

A method's file holds both halves. The tensor half uses `asi_core.linalg`, which imports torch on
first use only, so that accounting and pages can read settings and costs without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
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
    """What a layer carries over from one training step to the next.

    Attributes:
        seed: for the layer's own random start; the global generator is not used.
        ranks: found on the first batch, or planned; capped at every step to the sizes of its batch.
            None where the method's settings give the ranks.
        factors: mode -> size x rank matrix with which the next step starts; finite.
        used: those onto which the latest step projected, of modes where they are not in `factors`.
        energy: share of the energy captured when all `factors` were last iterated; None if that is
            not watched, or not known.
        weight_factor: out x rank basis of a weight that is used in factors; None without one.
        age: number of steps since the factors were initialised; a method may set it back to have
            them iterated again.
        initialised: whether a forward pass outside of backward made the factors. A pass within
            backward, which is a checkpoint's, then repeats it.
        is_repeated: True in the copy used by such a repeated pass, which projects its input onto
            the existing factors.
    """

    seed: int = 0
    ranks: Ranks | None = None
    factors: dict[int, Tensor] = field(default_factory=dict)
    used: dict[int, Tensor] = field(default_factory=dict)
    energy: float | None = None
    weight_factor: Tensor | None = None
    age: int = 0
    initialised: bool = False
    is_repeated: bool = False

    def forget(self) -> None:
        """Start from random factors again; the ranks stay."""
        self.factors, self.used, self.energy, self.age = {}, {}, None, 0


@dataclass(frozen=True, slots=True)
class Adapter:
    """A low-rank update of a layer's weight, trained in its place: the weight is W + scale B A.

    A maps the layer's input to `rank` channels per group, with the layer's kernel; B maps those to
    the layer's outputs, position by position.

    Attributes:
        rank: per group of channels; less where the weight of a group has a lower rank.
        trains_a: whether A is trained, besides B.
    """

    rank: int
    scale: float
    trains_a: bool

    def rank_in(self, weight_shape: tuple[int, ...], groups: int) -> int:
        """The rank in a layer with such a weight."""
        return min(self.rank, weight_shape[0] // groups, prod(weight_shape[1:]))

    def shapes(
        self, weight_shape: tuple[int, ...], groups: int
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shapes of A and B, as weights of layers of the same kind and number of groups."""
        outputs, *of_filter = weight_shape
        rank = self.rank_in(weight_shape, groups)
        return (groups * rank, *of_filter), (outputs, rank, *[1] * len(of_filter[1:]))


@dataclass(frozen=True, slots=True)
class TrainedNumbers:
    """How many numbers of a layer are trained, and how many are frozen."""

    trained: int
    frozen: int


@dataclass(frozen=True, slots=True)
class MethodStyle:
    """How a method is drawn: a colour (hex), and the names of Plotly's dash and marker."""

    color: str
    dash: str
    symbol: str


class Method(BaseModel, ABC):
    """Base class of all methods. A subclass adds `kind`, its settings and the tensor half.

    A setting is a field with a `fields.Setting`; flags, form controls and sweeps are derived from
    it.

    Attributes:
        kind: identifier in specifications, flags and links.
        label: display name.
        summary: one sentence on what is kept; by default the first of the class's docstring.
        saves: one sentence on what the method saves and what it does not; may be empty.
        style: how the method is drawn; by default the next style of a palette.
        kept: what is kept of an input, in a few words, for a method that does not project.
        kept_energy: the share of the input's energy in what is kept, 0 to 1, if it is the same
            for all inputs.
        why_no_picture: why the input cannot be rebuilt as a picture from what is kept.
        replaces_layers: False where PyTorch's own layers already do what the method needs.
        letters: integer settings that closed forms use -> their symbols in equations.
        exact_forward: False if the output of a layer is not that of the plain one.
        factors_weight: whether layers compute with `weight_factors` in place of their weight.
        plans_weights: whether a plan within the budget says which layers' weights are trained, by
            ranks as large as the input; of the others, with ranks of zero, only the bias is.
        repeats_blocks: True if blocks of trained layers are recomputed before their backward pass.
        alternatives: settings of which exactly one must be given; may be empty.
        learning_rates: initial learning rates of runs that name none, by optimiser.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Any
    label: ClassVar[str]
    summary: ClassVar[str] = ""
    saves: ClassVar[str] = ""
    style: ClassVar[MethodStyle | None] = None
    kept: ClassVar[str] = "not measured"
    kept_energy: ClassVar[float | None] = None
    why_no_picture: ClassVar[str] = "This method rebuilds no input."
    replaces_layers: ClassVar[bool] = True
    letters: ClassVar[Mapping[str, str]] = {}
    exact_forward: ClassVar[bool] = True
    factors_weight: ClassVar[bool] = False
    plans_weights: ClassVar[bool] = False
    repeats_blocks: ClassVar[bool] = False
    alternatives: ClassVar[tuple[str, ...]] = ()
    learning_rates: ClassVar[Mapping[str, float]] = {"sgd": 0.05, "adamw": 0.001}

    @classmethod
    def class_kind(cls) -> str:
        """The `kind` that all instances of this class have."""
        kind: str = cls.model_fields["kind"].default
        return kind

    @classmethod
    def described(cls) -> str:
        """One sentence on what the method keeps."""
        first, _, _ = (cls.summary or cls.__doc__ or f"{cls.label}.").strip().partition("\n\n")
        return " ".join(first.split())

    @classmethod
    def usual(cls) -> Self:
        """The method that forms start with: its defaults, and the first of its alternatives."""
        given = {
            name: field.start
            for name, field in setting_fields(cls).items()
            if name in cls.alternatives[:1] or cls.model_fields[name].is_required()
        }
        return cls(**given)

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        """The settings with which `asi_core.testing` tests the method; by default the usual
        ones."""
        return (cls.usual(),)

    def is_exact(self, shape: LayerShape) -> bool:
        """Whether the weight gradient of such a layer is exact for any input."""
        return False

    @property
    def settings_label(self) -> str:
        """The label with the settings that distinguish runs of the same method: by default those
        that differ from their defaults."""
        fields = setting_fields(type(self))
        changed = [(fields[n], v) for n, v in self if n in fields and v != fields[n].default]
        return ", ".join((self.label, *(f"{f.setting.name} {f.title(v)}" for f, v in changed)))

    @property
    def has_ranks(self) -> bool:
        """Whether the method keeps a tensor with multilinear ranks."""
        return type(self).ranks_of is not Method.ranks_of

    @property
    def depends_on_images(self) -> bool:
        """Whether the number of kept bytes depends on the images and not only on shapes, because
        the ranks are found or planned on them."""
        return False

    @property
    def warm_up_steps(self) -> int:
        """Steps before those that take as long as all that follow: the first prepares warm starts
        and kernels."""
        return 1

    @property
    def memory_budget(self) -> int | None:
        """Memory limit in bytes for all trained layers together, for which the ranks are planned;
        None for a method without a budget."""
        return None

    @property
    def adapter(self) -> Adapter | None:
        """What is trained instead of a layer's weight and bias; None if those are trained.

        With an adapter, `compress` and `weight_gradient` are of the product with its A.
        """
        return None

    def trained_numbers(self, shape: LayerShape, ranks: Ranks | None) -> TrainedNumbers:
        """How many numbers of a layer are trained and frozen.

        Args:
            ranks: the ranks in use; None for a method without ranks.
        """
        own = prod(shape.weight_shape) + (shape.weight_shape[0] if shape.has_bias else 0)
        if self.adapter is None:
            return TrainedNumbers(own, 0)
        a, b = map(prod, self.adapter.shapes(shape.weight_shape, shape.geometry.groups))
        return TrainedNumbers(a + b, own) if self.adapter.trains_a else TrainedNumbers(b, own + a)

    @classmethod
    def why_unsupported(cls, geometry: Geometry) -> str | None:
        """Why the method does not support layers of such a geometry; None if it supports some."""
        return None

    @classmethod
    def why_unsupported_layer(cls, geometry: Geometry, weight_shape: tuple[int, ...]) -> str | None:
        """Why the method does not support a layer of this geometry and weight; None if it does."""
        return cls.why_unsupported(geometry)

    # Tensor half -------------------------------------------------------------------------------

    @abstractmethod
    def compress(
        self, x: Tensor, output_shape: tuple[int, ...], geometry: Geometry, memory: WarmStart
    ) -> Saved:
        """What to keep for backward of the input `x`: B x C x H x W, or B x ... x F.

        The first tensor may be the input itself or sums over it. The others must stay within the
        range of the input's type, in which they are kept unless they are narrower already.

        Args:
            memory: read, and updated for the next step by assigning new contents, never in place.
        """

    @abstractmethod
    def weight_gradient(
        self,
        saved: Saved,
        grad_output: Tensor,
        weight_shape: tuple[int, ...],
        geometry: Geometry,
    ) -> Tensor:
        """Weight gradient, of `weight_shape`, from what `compress` kept.

        Returns:
            a tensor with memory of its own, which the caller may overwrite.
        """

    def input_gradient(
        self,
        grad_output: Tensor,
        weight: Tensor,
        input_shape: tuple[int, ...],
        geometry: Geometry,
    ) -> Tensor:
        """Input gradient, of `input_shape`: exact, unless a method overrides this."""
        return linalg.gradients.input_gradient(grad_output, weight, input_shape, geometry)

    def weight_factors(
        self, weight: Tensor, memory: WarmStart, *, iterate: bool
    ) -> tuple[Tensor, Tensor]:
        """Two factors, out x rank and rank x in, with which a layer computes.

        Args:
            iterate: whether this is a training step, which updates `memory`.
        """
        raise NotImplementedError

    def factors(self, x: Tensor, memory: WarmStart) -> tuple[Tensor | None, ...] | None:
        """The orthonormal factors onto which `x` is projected; None if the method does not
        project."""
        return None

    def ranks_of(self, saved: Saved) -> Ranks | None:
        """The multilinear ranks of what was kept; None for a method without ranks."""
        return None

    # Closed-form half ----------------------------------------------------------------------------

    def ranks_for(self, shape: LayerShape) -> Ranks | None:
        """The ranks that the settings alone determine for a layer; None for a method without ranks.

        Raises:
            InvalidInput: if the ranks depend on the data.
        """
        return None

    def adjusted_ranks(self, shape: LayerShape, ranks: Ranks | None) -> Ranks | None:
        """The ranks with which the method keeps a layer for which `ranks` were measured: the same,
        unless it keeps a mode whole.

        Args:
            ranks: from spectra, or those in use in a step; None for a method without ranks.
        """
        return ranks

    def keeps_input(self, shape: LayerShape, ranks: Ranks | None) -> bool:
        """Whether the layer's input itself is kept, which another layer may keep as well.

        Args:
            ranks: the ranks in use; None for a method without ranks.
        """
        return False

    @property
    def has_closed_form(self) -> bool:
        """Whether bytes and multiplies are known by formula. A method may implement neither: its
        runs then have only measured values, and None for both."""
        own = type(self)
        return own.saved_bytes is not Method.saved_bytes and own.macs is not Method.macs

    def saved_bytes(self, shape: LayerShape, ranks: Ranks | None, convention: Convention) -> int:
        """Bytes kept from forward to backward, for an input in single precision.

        Use only + - * // ** and `asi_core.counting.ceil_div`: then the equation can be shown as
        well (`costs.formulas`).

        Raises:
            NoClosedForm: if there is no formula.
        """
        raise NoClosedForm(self.label)

    def macs(self, shape: LayerShape, ranks: Ranks | None, convention: Convention) -> Macs:
        """Multiply-accumulates of one training step; same rules as `saved_bytes`."""
        raise NoClosedForm(self.label)
