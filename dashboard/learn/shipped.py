"""The steps whose memory the lessons show; `scripts/make_lesson_examples.py` computes them."""

from __future__ import annotations

from asi_core.methods import ASI, Checkpointing, LoRA, LoRAOverASI, Method, Vanilla
from asi_core.training.spec import RunSpec
from dashboard.learn.controls import USUAL_RANK

# What a lesson can say about memory at any moment is by formula, and needs no weights.
_STEP = RunSpec(method=Vanilla(), pretrained=False)
DEPTHS: tuple[int | str, ...] = (_STEP.layers, "all")
MICRO_BATCHES = (_STEP.batch_size, 32, 16, 8, 4, 1)
# The alternatives to ASI, and what can be combined with it.
ALTERNATIVES = (Vanilla, Checkpointing, LoRA, ASI, LoRAOverASI)


def lesson_method(method: type[Method]) -> Method:
    """A method with the settings that the lessons use."""
    given = {"ranks": USUAL_RANK} if "ranks" in method.model_fields else {}
    return method.model_validate({"kind": method.class_kind(), **given})


def micro_batched(method: Method, layers: int | str, micro_batch: int) -> RunSpec:
    """A step in micro-batches of that size, the last of them a whole batch."""
    size = None if micro_batch == _STEP.batch_size else micro_batch
    changes = {"method": method, "layers": layers, "micro_batch": size}
    return _STEP.model_copy(update=changes)


_WHOLE = _STEP.model_copy(update={"layers": "all"})
# Steps of the whole network, by what they are called: vanilla as people have it, and with the
# project's lean layers, as ASI has them.
PLAIN, LEAN = Vanilla.label, f"Lean {Vanilla.label.lower()}"
COMPRESSED = ASI(ranks=USUAL_RANK).settings_label
TIMELINES = {
    PLAIN: _WHOLE.model_copy(update={"lean": False}),
    LEAN: _WHOLE,
    COMPRESSED: _WHOLE.model_copy(update={"method": ASI(ranks=USUAL_RANK)}),
}
NEEDS = tuple(
    micro_batched(lesson_method(method), layers, size)
    for layers in DEPTHS
    for method in ALTERNATIVES
    for size in MICRO_BATCHES
)
