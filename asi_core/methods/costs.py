"""Closed-form counts that several methods share: shapes in, integers out.

The `paper` convention is that of the published tables: it treats every convolution as dense,
counts the forward pass at input resolution and leaves out the input gradient. The `exact`
convention counts the multiply-accumulates that this package's code executes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from asi_core.errors import InvalidInput
from asi_core.linalg.orders import (
    KRYLOV_BLOCK,
    WATCHED_PARTS,
    depthwise_by_windows,
    late_parts,
    least_work_order,
    lifting_work,
    part_count,
    reduction_order,
    uses_gram,
    usual_krylov_size,
    window_work,
)
from asi_core.records import ELEMENT_BYTES, Convention, LayerShape, Macs, Ranks


def dense_step(shape: LayerShape, convention: Convention) -> Macs:
    """One step of plain back-propagation."""
    if convention == "paper":
        taps = _paper_taps(shape) * shape.input_shape[0]
        return Macs(
            forward=taps * prod(shape.input_shape[mode] for mode in shape.position_modes),
            weight_gradient=taps * prod(shape.output_shape[mode] for mode in shape.position_modes),
        )
    work = shape.product_macs
    return Macs(
        forward=work,
        input_gradient=work if shape.has_input_gradient else 0,
        weight_gradient=work,
    )


def capped_ranks(ranks: int | Ranks, sizes: tuple[int, ...]) -> Ranks:
    """`ranks` (one for all modes, or one per mode) capped to what a tensor of these sizes can have.

    A rank exceeds neither the mode's size nor the product of the other sizes. An exception is a
    mode kept in full: it stays at its size, even where its unfolding is taller than wide.

    Raises:
        InvalidInput: if there is not one rank per mode.
    """
    wanted = (ranks,) * len(sizes) if isinstance(ranks, int) else ranks
    if len(wanted) != len(sizes):
        raise InvalidInput(
            f"ranks must be one number or {len(sizes)} numbers, one per mode",
            f"{len(wanted)} numbers",
            "give them as batch,channel,height,width",
        )
    total = prod(sizes)
    return tuple(
        size if rank >= size else min(rank, total // size)
        for rank, size in zip(wanted, sizes, strict=True)
    )


def tucker_bytes(
    sizes: tuple[int, ...],
    ranks: Ranks,
    convention: Convention,
    bits: int = 32,
) -> int:
    """Bytes of core and factors; `exact` leaves out identity factors, which are never stored.

    Args:
        bits: per number: 32; 16 for the factors alone; or 8, to which `exact` adds the scales.
    """
    factors = sum(
        size * rank
        for size, rank in zip(sizes, ranks, strict=True)
        if convention == "paper" or rank < size
    )
    if bits == 16:
        return ELEMENT_BYTES * prod(ranks) + 2 * factors
    kept = prod(ranks) + factors
    if bits == 32:
        return ELEMENT_BYTES * kept
    return kept if convention == "paper" else kept + ELEMENT_BYTES * step_count(sizes, ranks)


def factor_bytes(size: int, rank: int, convention: Convention, bits: int = 32) -> int:
    """Bytes of one more factor, as `tucker_bytes` counts those of the form."""
    if bits != 8:
        return (2 if bits == 16 else ELEMENT_BYTES) * size * rank
    return size * rank if convention == "paper" else (size + ELEMENT_BYTES) * rank


def step_count(sizes: tuple[int, ...], ranks: Ranks) -> int:
    """Number of scales of 8-bit core and factors: one per index of the core's longest mode, and one
    per column of a stored factor."""
    stored = (rank for size, rank in zip(sizes, ranks, strict=True) if rank < size)
    return max(ranks) + sum(stored)


def rounding_overhead(sizes: tuple[int, ...], ranks: Ranks, *, batch_only: bool = False) -> int:
    """Products to quantise and dequantise core and factors: both once, and the factors once more
    for the start of the next step.

    Args:
        batch_only: whether the other factors stay, and are only dequantised.
    """
    each = [size * rank if rank < size else 0 for size, rank in zip(sizes, ranks, strict=True)]
    quantised = each[0] if batch_only else sum(each)
    return 2 * prod(ranks) + 2 * sum(each) + quantised


def ranks_below_input(ranks: Ranks, sizes: tuple[int, ...]) -> Ranks:
    """`ranks`, or full ranks where core and factors would be larger than the input itself.

    For ranks from an explained variance: a share near 1, for an input with an unfolding that is
    taller than wide, would give factors larger than the input.
    """
    whole = ELEMENT_BYTES * prod(sizes)
    return sizes if tucker_bytes(sizes, ranks, "exact") > whole else ranks


def subspace_overhead(
    sizes: tuple[int, ...], ranks: Ranks, *, sequential: bool, refresh_every: int = 1
) -> int:
    """One warm-started subspace iteration per mode, and the projections onto the new factors.

    For modes that are not iterated at every step, the mean over the steps.
    """
    current, work = list(sizes), 0
    for mode in reduction_order(sizes, ranks):
        source = prod(current) if sequential else prod(sizes)
        size, rank = sizes[mode], ranks[mode]
        is_gram = uses_gram(size, source // size, rank)
        iteration = source * size + size**2 * rank if is_gram else 2 * source * rank
        iteration += qr_macs(size, rank)
        work += iteration // (refresh_every if mode else 1)
        work += prod(current) * ranks[mode]
        current[mode] = ranks[mode]
    return work


def projection_overhead(sizes: tuple[int, ...], ranks: Ranks) -> int:
    """The projections onto known factors, one mode after the other."""
    current, work = list(sizes), 0
    for mode in reduction_order(sizes, ranks):
        work += prod(current) * ranks[mode]
        current[mode] = ranks[mode]
    return work


def late_overhead(sizes: tuple[int, ...], ranks: Ranks, channel: int) -> int:
    """One projection of the channels, half an iteration of them on a part of the batch, and the
    other modes' iterations on what is left.

    The mean over the parts of the batch, which take turns.
    """
    size, rank = sizes[channel], ranks[channel]
    if rank == size:
        return subspace_overhead(sizes, ranks, sequential=True)
    left = (*sizes[:channel], rank, *sizes[channel + 1 :])
    whole = prod(sizes) * rank
    following = whole // part_count(sizes[0], late_parts(sizes, rank, channel))
    rest = subspace_overhead(left, ranks, sequential=True)
    return whole + following + qr_macs(size, rank) + rest


def batch_last_overhead(sizes: tuple[int, ...], ranks: Ranks) -> int:
    """The projections on all factors but the batch's, the watch on the energy that they capture,
    and the batch's iteration on what is left."""
    left = (sizes[0], *ranks[1:])
    work = projection_overhead(sizes, left) + subspace_overhead(left, ranks, sequential=True)
    if left == sizes:
        return work
    return work + (prod(sizes) + prod(left)) // part_count(sizes[0], WATCHED_PARTS)


def paper_subspace_overhead(
    sizes: tuple[int, ...],
    ranks: Ranks,
    *,
    refresh_every: int = 1,
    modes: Sequence[int] | None = None,
) -> int:
    """The paper's count of the subspace iterations, without the projections.

    Args:
        modes: those that are iterated; None for all.
    """
    return sum(
        (2 * prod(sizes) * rank + rank**3) // (refresh_every if mode else 1)
        for mode, rank in enumerate(ranks)
        if modes is None or mode in modes
    )


def paper_late_overhead(sizes: tuple[int, ...], ranks: Ranks, channel: int) -> int:
    """The same, with the channels iterated on a part of the batch."""
    others = [mode for mode in range(len(ranks)) if mode != channel]
    rank = ranks[channel]
    parts = part_count(sizes[0], late_parts(sizes, rank, channel))
    own = 2 * prod(sizes) * rank // (parts if rank < sizes[channel] else 1) + rank**3
    return paper_subspace_overhead(sizes, ranks, modes=others) + own


def hosvd_overhead(sizes: tuple[int, ...], ranks: Ranks, solver: str, *, are_given: bool) -> int:
    """All bases from the full tensor, and the projections onto the kept ones.

    Args:
        are_given: whether the ranks are known beforehand. Then a mode at full rank needs no basis;
            otherwise its rank is found from it.
    """
    basis = _gram_basis if solver == "gram" else _svd_basis
    sides = zip(sizes, _others(sizes), ranks, strict=True)
    found = [(s, rest, r) for s, rest, r in sides if r < s or not are_given]
    work = sum(basis(size, rest, rank) for size, rest, rank in found)
    return work + projection_overhead(sizes, ranks)


def paper_svd_overhead(sizes: tuple[int, ...]) -> int:
    """The paper's count of the decompositions."""
    return sum(
        max(size, rest) ** 2 * min(size, rest)
        for size, rest in zip(sizes, _others(sizes), strict=True)
    )


def _others(sizes: tuple[int, ...]) -> list[int]:
    """The number of columns of each unfolding: the product of the other sizes."""
    return [prod(sizes[:mode] + sizes[mode + 1 :]) for mode in range(len(sizes))]


def tucker_weight_gradient(shape: LayerShape, ranks: Ranks) -> int:
    """The weight gradient in the compressed space, as `linalg.gradients` computes it."""
    if shape.is_pointwise:
        return _pointwise(shape, ranks)
    sizes, outputs, groups = shape.input_shape, shape.output_shape, shape.geometry.groups
    projection = 0 if ranks[0] == sizes[0] else ranks[0] * sizes[0] * prod(outputs[1:])
    if depthwise_by_windows(sizes, ranks, outputs, shape.weight_shape, groups):
        return projection + window_work(sizes, ranks, outputs, shape.weight_shape)
    return projection + lifting_work(sizes, ranks, outputs, shape.weight_shape, groups)


def paper_tucker_weight_gradient(shape: LayerShape, ranks: Ranks) -> int:
    """The paper's count of it; a linear layer is counted as a 1 x 1 convolution without width."""
    if shape.is_linear:
        return _paper_linear_gradient(shape, ranks)
    batch, channels, height, width = shape.input_shape
    _, outputs, output_height, output_width = shape.output_shape
    kernel = prod(shape.weight_shape[2:])
    k0, k1, _, k3 = ranks
    return (
        k0 * outputs * output_height * output_width * batch
        + height * prod(ranks)
        + height * width * k0 * k1 * k3
        + outputs * k0 * k1 * kernel * output_height * output_width
        + channels * outputs * kernel * k1
    )


def _paper_linear_gradient(shape: LayerShape, ranks: Ranks) -> int:
    """Project the batch away, lift every position mode in turn, contract, lift the features."""
    outputs, features = shape.weight_shape
    positions = [shape.input_shape[mode] for mode in shape.position_modes]
    work = ranks[0] * outputs * prod(positions) * shape.input_shape[0]
    lifted = list(ranks)
    for mode in shape.position_modes:
        work += prod(lifted) * shape.input_shape[mode]
        lifted[mode] = shape.input_shape[mode]
    return work + outputs * prod(lifted) + features * outputs * ranks[-1]


def tucker_step(shape: LayerShape, ranks: Ranks, overhead: int, convention: Convention) -> Macs:
    """A step with exact forward and input gradient, and `overhead` for the compression."""
    gradient = tucker_weight_gradient if convention == "exact" else paper_tucker_weight_gradient
    return replace(
        dense_step(shape, convention),
        overhead=overhead,
        weight_gradient=gradient(shape, ranks),
    )


def qr_macs(rows: int, columns: int) -> int:
    """Householder QR with the thin Q formed (Golub & Van Loan, 4th ed., section 5.2)."""
    return 2 * rows * columns**2 - 2 * columns**3 // 3


def _gram_basis(size: int, rest: int, rank: int) -> int:
    """The smaller Gram matrix, and its leading eigenvectors."""
    small = min(size, rest)
    work = size * rest * small + _eigenvectors(small, rank)
    return work if size <= rest else work + size * rest * rank + qr_macs(size, rank)


def _eigenvectors(side: int, rank: int) -> int:
    """Of a Gram matrix: all of them (9 n^3 flops: Golub & Van Loan, section 8.3), or the leading
    ones from a Krylov subspace of the usual size, as in `linalg.krylov`."""
    size = usual_krylov_size(side, rank)
    if size is None:
        return 9 * side**3 // 2
    products = side**2 * size + 2 * size // KRYLOV_BLOCK * qr_macs(side, KRYLOV_BLOCK)
    ritz = 3 * side * size**2 + 9 * size**3 // 2
    proof = 2 * side * size * rank + side**2 * rank + side**3 // 6
    return products + ritz + proof


def _svd_basis(size: int, rest: int, rank: int) -> int:
    """Singular values and left vectors by R-SVD (Golub & Van Loan, table 8.6.1), all of them."""
    tall, small = max(size, rest), min(size, rest)
    return (6 * tall * small**2 + 20 * small**3) // 2


def _pointwise(shape: LayerShape, ranks: Ranks) -> int:
    """Project the output gradient on all modes but the channels, contract with the core, lift."""
    sizes, channel = shape.input_shape, shape.channel_mode
    current, work = list(shape.output_shape), 0
    for mode in gradient_order(shape, ranks):
        work += prod(current) * ranks[mode]
        current[mode] = ranks[mode]
    outputs = shape.weight_shape[0]
    work += outputs * prod(ranks)
    is_full = ranks[channel] == sizes[channel]
    return work if is_full else work + outputs * ranks[channel] * sizes[channel]


def gradient_order(shape: LayerShape, ranks: Ranks) -> list[int]:
    """In which order a pointwise layer's output gradient is projected on the input's factors."""
    sizes = shape.input_shape
    modes = [m for m, r in enumerate(ranks) if r < sizes[m] and m != shape.channel_mode]
    return least_work_order(sizes, ranks, modes)


def _paper_taps(shape: LayerShape) -> int:
    """Kernel positions x input channels x output channels, as if there were no groups."""
    channel = shape.channel_mode
    return prod(shape.weight_shape[2:]) * shape.input_shape[channel] * shape.output_shape[channel]
