"""Profiles of layers of any network: bytes and gradient error for each choice of ranks.

One forward and backward pass per batch gives every layer's input and output gradient. One
decomposition per mode then serves all explained variances, because a truncated core is a corner of
the full one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asi_core import linalg
from asi_core.compression.timing import step_macs, timed
from asi_core.errors import InvalidInput
from asi_core.layers.compressed import CompressedLayer
from asi_core.layers.freezing import train_only_
from asi_core.layers.selection import Layers, choose_layers
from asi_core.layers.shapes import observed_shapes
from asi_core.layers.watching import Watched, watched
from asi_core.linalg.tucker import Tucker
from asi_core.methods import ASI, Method
from asi_core.methods.costs import tucker_bytes
from asi_core.planning import Candidate, LayerProfile
from asi_core.records import LayerShape, Ranks

Batch = TypeVar("Batch")

# Explained variances of the candidates, as in the paper and finer; 1 keeps the input.
SHARES = (0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99, 1.0)
_DIGITS = 6


def profile(
    model: nn.Module,
    batches: Iterable[Batch],
    loss: Callable[[nn.Module, Batch], Tensor],
    *,
    layers: Layers,
    exclude: Layers = (),
    method: Method | None = None,
    shares: Sequence[float] = SHARES,
    timing_rounds: int = 0,
) -> list[LayerProfile]:
    """Profile layers of any network on a few batches, with exact gradients.

    Nothing of the model is changed. All batches should have the size that is trained with.

    Args:
        batches: one or more; two are enough for a plan. Ranks come from their mean spectra; errors
            are root mean squares over them.
        loss: computes the loss of the model on a batch, a scalar.
        layers: which layers, as `choose_layers` takes them.
        exclude: which layers not, in the same way.
        method: whose bytes count at given ranks; ASI's by default. Of one that plans which weights
            are trained, profiles say what each of them contributes (`profile_weight`).
        shares: explained variances of the candidates.
        timing_rounds: how often each candidate is timed, for a plan with the least time; 0 for
            none.

    Returns:
        A profile per layer, which `plan` takes.

    Raises:
        InvalidInput: if there is no batch, a layer is compressed already, or it takes no part in
            the loss.

    Example:
        >>> def loss(model, batch):
        ...     return F.cross_entropy(model(batch[0]), batch[1])
        >>> made = plan(profile(model, batches, loss, layers=4), budget_bytes=100_000)
        >>> prepare_(model, Compression.from_plan(made, also_trained=["fc"]))
    """
    names = choose_layers(model, layers, exclude=exclude)
    if compressed := [n for n in names if isinstance(model.get_submodule(n), CompressedLayer)]:
        raise InvalidInput(
            "layers are profiled with exact gradients",
            f"{compressed[0]}, which is compressed",
            "call restore_ on the model first",
        )
    passes: list[dict[str, Watched]] = []
    with _trained(model, names), observed_shapes(model, names) as shapes:
        for batch in batches:
            with watched(model, names) as notes:
                value = loss(model, batch)
                if value.requires_grad:
                    value.backward()
            passes.append(notes)
        calls = {name: shapes.of(name) for name in names}
    for name in names:
        if not passes or not calls[name] or passes[0][name].grad_output is None:
            raise InvalidInput(
                "profiled layers must take part in the loss of at least one batch",
                name if passes else "no batch",
                "leave it out of layers" if passes else "give two batches",
            )
    counted = method or ASI.usual()
    met = [(calls[name][-1], [seen[name] for seen in passes]) for name in names]
    if counted.plans_weights:
        return [profile_weight(shape, seen, counted) for shape, seen in met]
    found = [profile_layer(shape, seen, shares, counted) for shape, seen in met]
    return timed(found, met, counted, timing_rounds)


@contextmanager
def _trained(model: nn.Module, names: Sequence[str]) -> Iterator[None]:
    """Train these layers alone within, and leave flags and gradients as they were."""
    before = [(p, p.requires_grad, p.grad) for p in model.parameters()]
    train_only_(model, names)
    for parameter in model.parameters():
        # Backward would add to the tensor that is there.
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, requires_grad, gradient in before:
            parameter.requires_grad_(requires_grad)
            parameter.grad = gradient


@dataclass(frozen=True)
class _Decomposed:
    """A layer's input in full orthonormal bases, and the exact weight gradient."""

    grad_output: Tensor
    core: Tensor
    bases: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    gradient: Tensor

    def error_at(self, ranks: Ranks, shape: LayerShape) -> Tensor:
        """Squared Frobenius norm of the weight gradient's error at `ranks`."""
        corner = self.core[tuple(slice(rank) for rank in ranks)]
        factors = tuple(basis[:, :rank] for basis, rank in zip(self.bases, ranks, strict=True))
        found = linalg.gradients.tucker_weight_gradient(
            Tucker(corner, factors), self.grad_output, shape.weight_shape, shape.geometry
        )
        return (found - self.gradient).square().sum()


def profile_layer(
    shape: LayerShape, passes: Sequence[Watched], shares: Sequence[float], method: Method
) -> LayerProfile:
    """The profile of one layer from what it met in some training steps.

    Args:
        passes: its inputs and output gradients, one record per batch.
        shares: explained variances of the candidates.
        method: whose bytes at given ranks count; a Tucker form's for a method without ranks.
    """
    decomposed = [_decompose(seen, shape) for seen in passes]
    spectra = [
        _mean_spectrum([d.values[mode] for d in decomposed])
        for mode in range(len(shape.input_shape))
    ]
    candidates = [_candidate(shape, decomposed, spectra, share, method) for share in shares]
    norms = torch.stack([d.gradient.square().sum() for d in decomposed])
    return LayerProfile(
        name=shape.name,
        input_shape=shape.input_shape,
        singular_values=tuple(_rounded(values) for values in decomposed[0].values),
        candidates=tuple(candidates),
        gradient_norm=float(norms.mean().sqrt()),
    )


def profile_weight(shape: LayerShape, passes: Sequence[Watched], method: Method) -> LayerProfile:
    """The profile of one layer whose weight is trained or not: two candidates.

    The error of not training it is the squared norm of the weight's gradient, averaged over the
    batches: the first decrease of their mean loss per learning rate that is forgone.

    Args:
        passes: the layer's inputs and output gradients, one record per batch.
        method: whose bytes count.
    """
    gradients = []
    for seen in passes:
        assert seen.x is not None
        assert seen.grad_output is not None
        gradients.append(
            linalg.gradients.weight_gradient(
                seen.x, seen.grad_output, shape.weight_shape, shape.geometry
            )
        )
    contribution = float(torch.stack(gradients).mean(0).double().square().sum())
    trained, frozen = shape.input_shape, (0,) * len(shape.input_shape)
    return LayerProfile(
        name=shape.name,
        input_shape=shape.input_shape,
        singular_values=(),
        candidates=(
            Candidate(0.0, frozen, method.saved_bytes(shape, frozen, "exact"), contribution),
            Candidate(1.0, trained, method.saved_bytes(shape, trained, "exact"), 0.0),
        ),
    )


def _decompose(seen: Watched, shape: LayerShape) -> _Decomposed:
    assert seen.x is not None
    assert seen.grad_output is not None
    x = seen.x
    bases, values = [], []
    for mode, size in enumerate(x.shape):
        full = min(size, x.numel() // size)
        bases.append(linalg.spectra.leading_vectors(x, mode, rank=full))
        values.append(linalg.spectra.singular_values(x, mode)[:full])
    core = x
    for mode, basis in enumerate(bases):
        core = linalg.unfolding.mode_product(core, basis.T, mode)
    gradient = linalg.gradients.weight_gradient(
        x, seen.grad_output, shape.weight_shape, shape.geometry
    )
    return _Decomposed(seen.grad_output, core, tuple(bases), tuple(values), gradient)


def _candidate(
    shape: LayerShape,
    decomposed: Sequence[_Decomposed],
    spectra: Sequence[Tensor],
    share: float,
    method: Method,
) -> Candidate:
    if share >= 1:
        sizes = shape.input_shape
        kept = _kept_bytes(method, shape, sizes)
        return Candidate(1.0, sizes, kept, 0.0, macs=step_macs(method, shape, sizes))
    reached = tuple(linalg.spectra.rank_for_energy(values, share) for values in spectra)
    ranks = method.adjusted_ranks(shape, reached) or reached
    squared = torch.stack([d.error_at(ranks, shape) for d in decomposed]).mean()
    kept = _kept_bytes(method, shape, ranks)
    macs = step_macs(method, shape, ranks)
    return Candidate(share, ranks, kept, float(squared.sqrt()), macs=macs)


def _kept_bytes(method: Method, shape: LayerShape, ranks: Ranks) -> int:
    """Bytes that the method keeps at these ranks; for one without ranks, those of a Tucker form."""
    if method.has_ranks:
        return method.saved_bytes(shape, ranks, "exact")
    return tucker_bytes(shape.input_shape, ranks, "exact")


def _mean_spectrum(values: Sequence[Tensor]) -> Tensor:
    """Root of the mean energy shares over the batches; shorter spectra are padded with zeros."""
    longest = max(len(v) for v in values)
    shares = [v.square() / v.square().sum().clamp_min(1e-30) for v in values]
    return torch.stack([F.pad(s, (0, longest - len(s))) for s in shares]).mean(0).sqrt()


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(float(f"{value:.{_DIGITS}g}") for value in values.tolist())
