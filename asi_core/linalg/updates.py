"""Tucker forms whose factors follow the inputs from step to step, and read each input once.

An iteration of a mode reads the whole input twice, and its projection reads it again. Both forms
here project the input first, on factors that are there already; what is iterated is iterated on the
result, which is smaller by the ranks of the projected modes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from asi_core.linalg.orders import late_parts, part_of_batch
from asi_core.linalg.tucker import Tucker, iterate, subspace_tucker
from asi_core.linalg.unfolding import Ordered, orthonormal


def late_tucker(
    tensor: Tensor,
    start: Sequence[Tensor | None],
    late: int,
    *,
    iterations: Sequence[int],
    turn: int,
) -> tuple[Tucker, Tensor]:
    """One mode is projected on its start, and iterated for the next step on a part of the batch.

    The other modes are iterated one after the other on what is left.

    Args:
        tensor: batch x ... (any number of modes).
        start: one size x rank matrix per mode; None leaves the mode at full rank.
        late: the mode whose iteration is for the next step; its start is not None.
        iterations: for each mode; those of the late mode, before it is projected, are 0 from a warm
            start.
        turn: number of the step: the parts of the batch take turns.

    Returns:
        The form, and the factor with which the late mode starts in the next step.
    """
    factor = start[late]
    assert factor is not None
    whole = Ordered.of(tensor)
    for _ in range(iterations[late]):
        factor = iterate(whole, factor, late)
    reduced = whole.product(factor.T, late).tensor()
    part = part_of_batch(len(tensor), late_parts(tensor.shape, factor.shape[1], late), turn)
    following = _next_factor(tensor[part], reduced[part], late)
    others = [None if mode == late else f for mode, f in enumerate(start)]
    rest = subspace_tucker(reduced, others, sequential=True, iterations=iterations)
    factors = [factor if mode == late else f for mode, f in enumerate(rest.factors)]
    return Tucker(rest.core, tuple(factors)), following


def batch_last_tucker(
    tensor: Tensor, start: Sequence[Tensor | None], *, iterations: Sequence[int]
) -> tuple[Tucker, Tensor]:
    """All modes but the batch first, then the batch on what is left.

    Arguments as in `subspace_tucker`.

    Returns:
        The form, and the tensor projected on all factors but the batch's.
    """
    others = subspace_tucker(tensor, [None, *start[1:]], sequential=True, iterations=iterations)
    batch_alone = [start[0], *[None] * (tensor.dim() - 1)]
    last = subspace_tucker(others.core, batch_alone, sequential=True, iterations=iterations)
    return Tucker(last.core, (last.factors[0], *others.factors[1:])), others.core


def captured_share(tensor: Tensor, projected: Tensor, part: slice) -> float:
    """The share of the squared norm that a projection keeps, 0 to 1, of a part of the batch.

    Not a number if the part is zero, or too small or too large to be squared.

    Args:
        tensor: batch x ...
        projected: the tensor projected in modes other than the batch.
    """
    if projected is tensor:
        return 1.0
    norms = [torch.linalg.vector_norm(t[part]) for t in (projected, tensor)]
    return float((norms[0] / norms[1]).square())


def _next_factor(part: Tensor, reduced: Tensor, mode: int) -> Tensor:
    """An orthonormal basis of A A^T U, with A the mode's unfolding of the part.

    Args:
        reduced: the part times U^T, so that one product is left.
    """
    ordered = Ordered.of(part)
    return orthonormal(ordered.inner(Ordered(reduced.permute(ordered.order), ordered.order), mode))
