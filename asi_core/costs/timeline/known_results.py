"""Results of operators on shapes alone, remembered."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

# More operators than the step of a large network has, at about 1 KiB each; with so many, all are
# forgotten.
_MOST = 20_000
# Values that change a result by nothing but their type and value.
_PLAIN: frozenset[Any] = frozenset(
    {int, float, bool, str, type(None), torch.dtype, torch.device, torch.layout}
    | {torch.memory_format}
)


class _Unknown(Exception):
    """An argument of which it is not known how it changes the result."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """How one tensor of a result is made.

    Attributes:
        source: position of the tensor among those of the arguments that it is, or whose storage it
            shares; None if its storage is new.
        layout: size, stride and offset; None if it is the argument.
    """

    source: int | None
    dtype: torch.dtype
    layout: tuple[Sequence[int], Sequence[int], int] | None


@dataclass(frozen=True, slots=True)
class _Result:
    """What an operator returns: a tensor, or several in a tuple or list, some of them None."""

    container: type | None
    shapes: tuple[_Shape | None, ...]


class KnownResults:
    """Gives the results of operators on tensors of `FakeTensorMode`, those that were seen before
    without asking PyTorch.

    PyTorch remembers results as well, but what it must take into account to find them takes longer
    than everything else that a step on shapes does.
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, _Result] = {}

    def __call__(self, func: Any, args: Any, kwargs: Any) -> Any:
        """As `func(*args, **kwargs)`."""
        if func is torch.ops.prim.device.default:
            return args[0].fake_device
        tensors: list[FakeTensor] = []
        try:
            key = func, _key(args, tensors), _key(tuple(kwargs.items()), tensors)
        except _Unknown:
            return func(*args, **kwargs)
        known = self._known.get(key)
        if known is not None:
            return _made(known, tensors)
        result = func(*args, **kwargs)
        found = _described(func, result, tensors)
        if found is not None:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[key] = found
        return result


def _key(value: Any, tensors: list[FakeTensor]) -> Hashable:
    """What of a value changes results; its tensors are added to `tensors`, in order."""
    kind = type(value)
    if kind is FakeTensor:
        tensors.append(value)
        return value.shape, value.stride(), value.dtype, value.storage_offset()
    if kind is tuple or kind is list or kind is torch.Size:
        return tuple([_key(one, tensors) for one in value])
    if kind in _PLAIN:
        # 1, 1.0 and True are equal, and give results of different types.
        return kind, value
    raise _Unknown


def _described(func: Any, result: Any, tensors: Sequence[FakeTensor]) -> _Result | None:
    """How to make the result again; None if that is not known for sure."""
    if not tensors or torch.Tag.inplace_view in func.tags:
        # A new tensor of no other has a mode that is not known; a view in place changes its
        # argument.
        return None
    several = type(result) in (tuple, list)
    values = result if several else (result,)
    shapes: list[_Shape | None] = []
    seen: set[int] = {t.untyped_storage()._cdata for t in tensors}
    for value in values:
        if value is None:
            shapes.append(None)
            continue
        if type(value) is not FakeTensor:
            return None
        shape = _shape(value, tensors, seen)
        if shape is None:
            return None
        shapes.append(shape)
    return _Result(type(result) if several else None, tuple(shapes))


def _shape(value: FakeTensor, tensors: Sequence[FakeTensor], seen: set[int]) -> _Shape | None:
    for at, tensor in enumerate(tensors):
        if tensor is value:
            return _Shape(at, value.dtype, None)
    layout = tuple(value.shape), value.stride(), int(value.storage_offset())
    storage = value.untyped_storage()
    if storage._cdata not in seen:
        seen.add(storage._cdata)
        is_whole = storage.nbytes() == _extent(*layout) * value.element_size()
        return _Shape(None, value.dtype, layout) if is_whole else None
    sources = [at for at, t in enumerate(tensors) if t.untyped_storage()._cdata == storage._cdata]
    # Of two arguments with one storage, which one it is would be a guess.
    return _Shape(sources[0], value.dtype, layout) if len(sources) == 1 else None


def _extent(size: Sequence[int], stride: Sequence[int], offset: int) -> int:
    """Elements up to the last one."""
    if 0 in size:
        return 0
    return offset + 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True))


def _made(known: _Result, tensors: Sequence[FakeTensor]) -> Any:
    mode, device = tensors[0].fake_mode, tensors[0].fake_device
    values = [
        None if shape is None else _tensor(shape, tensors, mode, device) for shape in known.shapes
    ]
    return values[0] if known.container is None else known.container(values)


def _tensor(
    shape: _Shape, tensors: Sequence[FakeTensor], mode: FakeTensorMode, device: torch.device
) -> Tensor:
    if shape.layout is None:
        assert shape.source is not None
        return tensors[shape.source]
    size, stride, offset = shape.layout
    with torch._C._DisableTorchDispatch():
        if shape.source is None:
            made = torch.empty_strided(size, stride, dtype=shape.dtype, device="meta")
        else:
            made = torch.empty(0, dtype=shape.dtype, device="meta")
            made.set_(tensors[shape.source].untyped_storage(), offset, size, stride)
    return FakeTensor(mode, made, device)
