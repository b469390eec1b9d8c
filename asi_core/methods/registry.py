"""The open registry of methods: add a file and a line here, or register one from a package."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    SerializeAsAny,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
)

from asi_core.errors import InvalidInput, one_sentence
from asi_core.fields import SettingField, setting_fields
from asi_core.methods.asi import ASI, SubspaceIteration
from asi_core.methods.base import Method
from asi_core.methods.checkpointing import Checkpointing
from asi_core.methods.eight_bit import EightBit
from asi_core.methods.fixed_subspace import FixedSubspace
from asi_core.methods.gradient_filter import GradientFilter
from asi_core.methods.hosvd import HOSVD
from asi_core.methods.lora import LoRA, LoRAFA, LoRAOverASI
from asi_core.methods.sparse import Sparse
from asi_core.methods.vanilla import Vanilla
from asi_core.methods.velora import VeLoRA
from asi_core.methods.wasi import WASI
from asi_core.registry import Registry

_KIND = re.compile(r"[a-z][a-z0-9_]{0,39}")
# Figures and filters use this name for the linear probe.
_TAKEN = frozenset(("head",))
# Fields of a run and command flags, with which a setting of the same name would be confused.
TAKEN_NAMES = frozenset(
    (
        *("model", "dataset", "skip_damaged", "pretrained", "lean", "layers", "steps", "seed"),
        *("activation_bits", "recompute_attention", "micro_batch", "apply_early", "optimizer"),
        *("layout", "timeline", "tokens", "needs", "budget_mib", "least_layers", "frozen_in"),
        *("batch_size", "image_size", "learning_rate", "momentum", "weight_decay", "final_rate"),
        *("schedule", "warmup_steps"),
        *("clip_norm", "train_norm", "evaluate_every", "probe_every"),
        *("kind", "method", "methods", "rank", "spec", "convention", "references", "dry_run"),
        *("json", "run", "help", "own", "own_layers", "speed"),
    )
)


def _kind_of(method: Any) -> str:
    if not (isinstance(method, type) and issubclass(method, Method)):
        raise InvalidInput("a method must be a class derived from Method", repr(method), "pass one")
    field = method.model_fields.get("kind")
    kind = None if field is None else field.default
    if not isinstance(kind, str) or not _KIND.fullmatch(kind) or kind in _TAKEN:
        raise InvalidInput(
            "a method needs a kind of lower-case letters, digits and underscores as the default of "
            "its field `kind`",
            repr(kind),
            'for example write kind: Literal["my_method"] = "my_method"',
        )
    if taken := TAKEN_NAMES & set(setting_fields(method)):
        raise InvalidInput(
            f"settings of {method.label} must not have the name of a run's field or of a flag",
            ", ".join(sorted(taken)),
            "choose other names",
        )
    return kind


METHODS: Registry[type[Method]] = Registry(
    "method",
    "asi_lab.methods",
    _kind_of,
    (
        *(Vanilla, ASI, HOSVD, GradientFilter, EightBit, Checkpointing, FixedSubspace, VeLoRA),
        *(LoRA, LoRAFA, LoRAOverASI, WASI, Sparse),
    ),
)


def register_method(method: type[Method]) -> type[Method]:
    """Register a method by its kind, for this process; packages can use an entry point instead.

    It can then be trained, estimated and measured, and its settings have flags and form controls.
    Attributes that it does not define have defaults (`Method`).

    Raises:
        InvalidInput: if it is not a method, or if its kind or the name of a setting is invalid or
            taken.

    Example:
        >>> @asi_core.register_method
        ... class HalfPrecision(Method):
        ...     kind: Literal["half"] = "half"
        ...     label: ClassVar[str] = "Half precision"
        ...     def compress(self, x, output_shape, geometry, memory): return (x.half(),)
        ...     def weight_gradient(self, saved, grad_output, weight_shape, geometry): ...
    """
    return METHODS.add(method)


def method_class(kind: str) -> type[Method]:
    """The method class of that kind.

    Raises:
        InvalidInput: if the kind is unknown.
    """
    if kind not in METHODS:
        raise InvalidInput("method must be a known one", repr(kind), f"choose {', '.join(METHODS)}")
    return METHODS[kind]


def as_method(
    given: Method | str | Mapping[str, Any], *, like: Method | None = None, **settings: Any
) -> Method:
    """A method from however somebody names it.

    Args:
        given: a method; or its kind, with its settings beside it, else with usual ones; or a
            mapping with its kind and settings. A mapping without a kind changes settings of `like`.

    Raises:
        InvalidInput: if there is no such method or setting, or a value is not allowed.

    Example:
        >>> as_method("asi", explained_variance=0.8)
        >>> as_method({"ranks": 4}, like=ASI(explained_variance=0.8, bits=16))
    """
    if isinstance(given, Method):
        if settings:
            raise InvalidInput(
                "settings go with a method's kind, not with a method",
                ", ".join(settings),
                f"write {type(given).__name__}(...) with them, or {given.kind!r}",
            )
        return given
    if isinstance(given, str):
        kind = method_class(given)
        return _validated(kind, settings) if settings else kind.usual()
    if "kind" in given or like is None:
        kind = method_class(str(given.get("kind")))
        return _validated(kind, dict(given))
    # One of several alternatives takes the place of the other.
    own = like.model_dump(exclude_defaults=True)
    if any(name in like.alternatives for name in given):
        own = {name: value for name, value in own.items() if name not in like.alternatives}
    return _validated(type(like), {**own, **given})


def as_before_updates(method: Any) -> Any:
    """Stored settings of a method, from when ASI's factors were updated at every step: they were
    written without saying so at first, and mean it still. What is no method stays as it is."""
    kind = method.get("kind") if isinstance(method, Mapping) else None
    if isinstance(kind, str) and kind in METHODS and issubclass(METHODS[kind], SubspaceIteration):
        return {"update": "every_step", **method}
    return method


def _validated(kind: type[Method], settings: Mapping[str, Any]) -> Method:
    try:
        return kind.model_validate(dict(settings))
    except ValidationError as error:
        raise InvalidInput(
            f"settings of {kind.class_kind()} must be those of {kind.label}",
            one_sentence(error).rstrip("."),
            f"its settings are {', '.join(setting_fields(kind)) or 'none'}",
        ) from None


@lru_cache(maxsize=256)
def foreign_code(method: type[Method]) -> str:
    """A hash of the source file of another package's method: its runs depend on that code. Empty
    for methods of this package, whose code is versioned as a whole."""
    if method.__module__.startswith("asi_core."):
        return ""
    try:
        source = inspect.getsource(inspect.getmodule(method) or method)
    except (OSError, TypeError):
        # Defined in an interactive interpreter.
        return ""
    return hashlib.sha256(source.encode()).hexdigest()


def method_fields() -> dict[str, tuple[SettingField, tuple[type[Method], ...]]]:
    """The settings of all methods by name, each with the methods that have it.

    Settings of the same name in several methods are chosen once for all of them.
    """
    found: dict[str, tuple[SettingField, tuple[type[Method], ...]]] = {}
    for method in METHODS.values():
        for name, field in setting_fields(method).items():
            first, owners = found.get(name, (field, ()))
            found[name] = (first, (*owners, method))
    return found


def _made(value: Any, info: ValidationInfo) -> Any:
    """The method that a mapping with its kind and settings describes."""
    if not isinstance(value, Mapping):
        return value
    kind = value.get("kind")
    if not isinstance(kind, str):
        raise InvalidInput("a method must have a kind", repr(kind), f"choose {', '.join(METHODS)}")
    return method_class(kind).model_validate(dict(value), context=info.context)


# A method, or a mapping with its kind and settings.
AnyMethod = Annotated[SerializeAsAny[Method], BeforeValidator(_made)]
METHOD_ADAPTER: TypeAdapter[Method] = TypeAdapter(AnyMethod)
