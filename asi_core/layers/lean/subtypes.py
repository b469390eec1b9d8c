"""Lean forms of types of layers that are known only once a model has them."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from torch import nn

from asi_core.layers.lean.layer import LeanLayer


class LeanSubtype(LeanLayer):
    """Mixin whose layers keep the attributes and the type of the plain layer, whichever it is.

    Attributes:
        form: the mixin of the layer's type.
    """

    form: ClassVar[type[LeanSubtype]]

    @classmethod
    def from_plain(cls, plain: nn.Module) -> Self:
        layer: Self = _rebuilt(cls, type(plain), plain.__dict__.copy())
        return layer

    def __reduce_ex__(self, protocol: Any) -> Any:
        # The type is made while the program runs, so it is found by the plain one.
        return _rebuilt, (self.form, self.plain, self.__dict__)


_TYPES: dict[tuple[type[LeanSubtype], type[nn.Module]], type[LeanSubtype]] = {}


def _rebuilt(form: type[LeanSubtype], plain: type[nn.Module], state: dict[str, Any]) -> Any:
    key = form, plain
    if key not in _TYPES:
        name = f"{form.__name__}Of{plain.__name__}"
        _TYPES[key] = type(name, (form, plain), {"form": form, "plain": plain})
    layer = _TYPES[key].__new__(_TYPES[key])
    layer.__dict__ = state
    return layer
