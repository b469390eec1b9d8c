"""The optimisers of runs: PyTorch's own update functions, one parameter after the other.

PyTorch's optimiser classes import its compiler as soon as one is made, which takes each process
longer than many a short run trains; its functions do not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from asi_core.training.spec import RunSpec


class Optimiser(ABC):
    """Updates parameters, and keeps what it needs for the next update.

    Attributes:
        parameters: all that it updates.
        state: tensors of each parameter that has been updated, by name.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        self.state: dict[Tensor, dict[str, Tensor]] = {}

    def zero_grad(self) -> None:
        """Free the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, parameters: Sequence[Tensor], rate: float) -> None:
        """Update those of `parameters` that have a gradient.

        Args:
            parameters: some or all of the optimiser's.
            rate: the learning rate.
        """
        for parameter in parameters:
            if parameter.grad is not None:
                state = self.state.setdefault(parameter, {})
                self._update(parameter, parameter.grad, state, rate)

    def state_by_index(self) -> dict[int, dict[str, Tensor]]:
        """The state of each parameter that has one, by the parameter's place."""
        places = enumerate(self.parameters)
        return {index: self.state[p] for index, p in places if self.state.get(p)}

    def restore_state(self, found: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Replace the state by what `state_by_index` gave."""
        self.state = {self.parameters[index]: dict(values) for index, values in found.items()}

    @abstractmethod
    def _update(
        self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], rate: float
    ) -> None:
        """Update one parameter and its state in place."""


class Sgd(Optimiser):
    """Stochastic gradient descent; the state is the momentum's, if there is momentum."""

    def __init__(
        self, parameters: Sequence[nn.Parameter], momentum: float, weight_decay: float
    ) -> None:
        super().__init__(parameters)
        self._momentum, self._decay = momentum, weight_decay

    def _update(
        self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], rate: float
    ) -> None:
        if self._decay:
            # As the function's own weight decay, which makes a copy of the gradient.
            gradient.add_(parameter, alpha=self._decay)
        buffers = [state.get("momentum_buffer")]
        sgd(
            [parameter],
            [gradient],
            buffers,
            foreach=False,
            fused=False,
            weight_decay=0.0,
            momentum=self._momentum,
            lr=rate,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )
        if (buffer := buffers[0]) is not None:
            state["momentum_buffer"] = buffer


class AdamW(Optimiser):
    """Adam with decoupled weight decay, at PyTorch's usual coefficients."""

    def __init__(self, parameters: Sequence[nn.Parameter], weight_decay: float) -> None:
        super().__init__(parameters)
        self._decay = weight_decay

    def _update(
        self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], rate: float
    ) -> None:
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        adamw(
            [parameter],
            [gradient],
            [state["exp_avg"]],
            [state["exp_avg_sq"]],
            [],
            [state["step"]],
            foreach=False,
            fused=False,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=rate,
            weight_decay=self._decay,
            eps=1e-8,
            maximize=False,
        )


def make_optimiser(spec: RunSpec, parameters: Sequence[nn.Parameter]) -> Optimiser:
    """The optimiser that a specification names."""
    if spec.optimizer == "adamw":
        return AdamW(parameters, spec.weight_decay)
    return Sgd(parameters, spec.momentum, spec.weight_decay)
