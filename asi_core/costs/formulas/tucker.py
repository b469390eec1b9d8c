"""Equations of ASI and HOSVD; see `methods.costs`, whose functions they spell out."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from asi_core.costs.formulas.symbols import Letters, plus, times
from asi_core.linalg.orders import reduction_order, uses_gram
from asi_core.methods.costs import gradient_order
from asi_core.records import Convention, LayerShape, Ranks


def kept(
    names: Letters, shape: LayerShape, ranks: Ranks, convention: Convention
) -> tuple[str, str]:
    """Numbers of the core and of the factors, of which there may be none.

    `exact` leaves out factors of full modes, which are identities.
    """
    factors = [
        times(size, rank)
        for mode, (size, rank) in enumerate(zip(names.sizes, names.ranks, strict=True))
        if convention == "paper" or ranks[mode] < shape.input_shape[mode]
    ]
    return times(*names.ranks), " + ".join(factors)


def steps(names: Letters, shape: LayerShape, ranks: Ranks) -> str:
    """How many steps 8-bit core and factors have."""
    return plus([names.ranks[ranks.index(max(ranks))], *_stored(names.ranks, shape, ranks)])


def rounding_overhead(names: Letters, shape: LayerShape, ranks: Ranks) -> str:
    """Rounding core and factors to 8 bits, and restoring them."""
    entries = [times(size, rank) for size, rank in zip(names.sizes, names.ranks, strict=True)]
    factors = [f"3*{term}" for term in _stored(entries, shape, ranks)]
    return plus([f"2*{times(*names.ranks)}", *factors])


def _stored(terms: Sequence[str], shape: LayerShape, ranks: Ranks) -> list[str]:
    """Those of modes that have a factor."""
    modes = zip(terms, ranks, shape.input_shape, strict=True)
    return [term for term, rank, size in modes if rank < size]


def asi_overhead(
    names: Letters,
    shape: LayerShape,
    ranks: Ranks,
    convention: Convention,
    *,
    sequential: bool,
    refresh_every: int,
) -> str:
    """Subspace iterations, orthonormalisations, and projections onto the new factors."""
    whole = times(*names.sizes)
    if convention == "paper":
        iterations = [f"2*{whole}*{rank} + {rank}**3" for rank in names.ranks]
        return plus([_at_some_steps(work, m, refresh_every) for m, work in enumerate(iterations)])
    current, left, terms = list(names.sizes), list(shape.input_shape), []
    for mode in reduction_order(shape.input_shape, ranks):
        size, rank = names.sizes[mode], names.ranks[mode]
        source = times(*current) if sequential else whole
        rest = prod(left if sequential else shape.input_shape) // left[mode]
        is_gram = uses_gram(left[mode], rest, ranks[mode])
        moved = f"{source}*{size} + {size}**2*{rank}" if is_gram else f"2*{source}*{rank}"
        iteration = f"{moved} + {_qr(size, rank)}"
        terms += [_at_some_steps(iteration, mode, refresh_every), times(*current, rank)]
        current[mode], left[mode] = rank, ranks[mode]
    return plus(terms)


def _at_some_steps(work: str, mode: int, refresh_every: int) -> str:
    """The mean over the steps; the batch's mode is iterated at every one."""
    return work if mode == 0 or refresh_every == 1 else f"({work})//{refresh_every}"


def hosvd_overhead(
    names: Letters,
    shape: LayerShape,
    ranks: Ranks,
    convention: Convention,
    *,
    solver: str,
    are_given: bool,
) -> str:
    """Decompositions of the unfoldings, and projections onto the bases that are kept.

    A mode that is given full rank is not decomposed.
    """
    modes = range(len(ranks))
    if convention == "paper":
        return plus([_paper_svd(names, shape, mode) for mode in modes])
    basis = _gram if solver == "gram" else _svd
    reduced = reduction_order(shape.input_shape, ranks)
    terms = [basis(names, shape, mode) for mode in modes if mode in reduced or not are_given]
    current = list(names.sizes)
    for mode in reduction_order(shape.input_shape, ranks):
        terms.append(times(*current, names.ranks[mode]))
        current[mode] = names.ranks[mode]
    return plus(terms)


def weight_gradient(names: Letters, shape: LayerShape, ranks: Ranks, convention: Convention) -> str:
    """From the compressed input."""
    if convention == "paper":
        return _paper_linear(names, shape) if shape.is_linear else _paper_conv(names)
    if shape.is_pointwise:
        return plus(_pointwise(names, shape, ranks))
    full = [rank == size for rank, size in zip(ranks, shape.input_shape, strict=True)]
    terms = [] if full[0] else [times(names.ranks[0], *names.outputs)]
    return plus(terms + _windows(names, shape, full))


def _pointwise(names: Letters, shape: LayerShape, ranks: Ranks) -> list[str]:
    """Project the output gradient on all modes but the channels, contract with the core, lift."""
    channel = shape.channel_mode
    current, terms = list(names.outputs), []
    for mode in gradient_order(shape, ranks):
        terms.append(times(*current, names.ranks[mode]))
        current[mode] = names.ranks[mode]
    terms.append(times(names.outputs[channel], *names.ranks))
    if ranks[channel] < shape.input_shape[channel]:
        terms.append(times(names.outputs[channel], names.ranks[channel], names.sizes[channel]))
    return terms


def _windows(names: Letters, shape: LayerShape, full: list[bool]) -> list[str]:
    """Lift the core to what windows slide over, contract, lift the channels of dense layers."""
    dense = shape.geometry.groups == 1
    lifted, terms = list(names.ranks), []
    for mode in (2, 3) if dense else (2, 3, 1):
        if not full[mode]:
            terms.append(times(*lifted, names.sizes[mode]))
            lifted[mode] = names.sizes[mode]
    channels = names.ranks[1] if dense else "C_g"
    terms.append(times(lifted[0], *names.outputs[1:], channels, *names.kernel))
    if dense and not full[1]:
        terms.append(times("C_out", names.ranks[1], *names.kernel, "C"))
    return terms


def _paper_conv(names: Letters) -> str:
    batch, channel, height, width = names.ranks
    return plus(
        [
            times(batch, *names.outputs),
            times("H", batch, channel, height, width),
            times("H", "W", batch, channel, width),
            times(batch, channel, *names.outputs[1:], *names.kernel),
            times("C", "C_out", *names.kernel, channel),
        ]
    )


def _paper_linear(names: Letters, shape: LayerShape) -> str:
    terms, lifted = [times(names.ranks[0], *names.outputs)], list(names.ranks)
    for mode in shape.position_modes:
        terms.append(times(*lifted, names.sizes[mode]))
        lifted[mode] = names.sizes[mode]
    return plus([*terms, times("F_out", *lifted), times("F", "F_out", names.ranks[-1])])


def _qr(rows: str, columns: str) -> str:
    return f"2*{rows}*{columns}**2 - 2*{columns}**3//3"


def _gram(names: Letters, shape: LayerShape, mode: int) -> str:
    size, rest = _sides(names, mode)
    if _is_wide(shape, mode):
        return f"{size}**2*{rest} + 9*{size}**3//2"
    lifted = f"{size}*{rest}*{names.ranks[mode]} + {_qr(size, names.ranks[mode])}"
    return f"{size}*({rest})**2 + 9*({rest})**3//2 + {lifted}"


def _svd(names: Letters, shape: LayerShape, mode: int) -> str:
    size, rest = _sides(names, mode)
    tall, small = (rest, size) if _is_wide(shape, mode) else (size, f"({rest})")
    return f"(6*{tall}*{small}**2 + 20*{small}**3)//2"


def _paper_svd(names: Letters, shape: LayerShape, mode: int) -> str:
    size, rest = _sides(names, mode)
    return f"({rest})**2*{size}" if _is_wide(shape, mode) else f"{size}**2*{rest}"


def _sides(names: Letters, mode: int) -> tuple[str, str]:
    """The two sides of an unfolding."""
    others = [size for at, size in enumerate(names.sizes) if at != mode]
    return names.sizes[mode], times(*others)


def _is_wide(shape: LayerShape, mode: int) -> bool:
    size, rest = shape.input_shape[mode], 1
    for at, other in enumerate(shape.input_shape):
        rest *= 1 if at == mode else other
    return size <= rest
