"""The kinds of jobs that workers execute besides runs. A new kind is a function and a line below.

Each function imports what it needs when it is called, so that pages can request jobs without
importing torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asi_core.errors import InvalidInput
from asi_core.methods import Vanilla
from asi_core.planning import profiles_as_dict
from asi_core.training.spec import RunSpec

if TYPE_CHECKING:
    from asi_core.training.features import FeaturePool

_IMAGES = frozenset({"dataset", "skip_damaged"})
_START = _IMAGES | {"model", "pretrained", "layers", "batch_size", "image_size", "seed"}
_START |= {"micro_batch"}
# What is trained and how, in one step.
_STEP = _START | {
    "method",
    "lean",
    "activation_bits",
    "recompute_attention",
    "train_norm",
    "layout",
}


@dataclass(frozen=True, slots=True)
class JobKind:
    """One kind of job.

    Attributes:
        answer: computes the JSON result from a specification and shared frozen features.
        settings: fields of the specification on which the result depends.
        doing: the message on the page while it is computed.
        edition: version of the result; increasing it invalidates stored results.
    """

    answer: Callable[[RunSpec, FeaturePool], dict[str, Any]]
    settings: frozenset[str]
    doing: str
    edition: int = 1

    def settled(self, spec: RunSpec) -> RunSpec:
        """`spec` with defaults for the fields on which the result does not depend."""
        given = {name: value for name, value in spec if name in self.settings}
        return RunSpec.model_validate({"method": Vanilla(), **given})


def _measure(spec: RunSpec, pool: FeaturePool) -> dict[str, Any]:
    """`StepMeasured.as_dict` of one real training step, compared with plain and lean ones."""
    from asi_core.training.measuring import measure_and_compare, with_weights_at_hand

    return measure_and_compare(with_weights_at_hand(spec), pool).as_dict()


def _timeline(spec: RunSpec, pool: FeaturePool) -> dict[str, Any]:
    """`Timeline.as_dict` of one real training step."""
    from asi_core.training.measuring import measure_memory, with_weights_at_hand

    return measure_memory(with_weights_at_hand(spec), pool).as_dict()


def _timeline_formula(spec: RunSpec, pool: FeaturePool) -> dict[str, Any]:
    """`Timeline.as_dict` of a step on shapes alone."""
    from asi_core.training.formula_memory import formula_memory

    return formula_memory(spec).as_dict()


def _need(spec: RunSpec, pool: FeaturePool) -> dict[str, Any]:
    """`Need.as_dict` by formula; ranks that depend on the images are those of a first batch."""
    from asi_core.training.calibration import first_ranks
    from asi_core.training.formula_memory import formula_need

    ranks = first_ranks(spec, pool) if spec.method.depends_on_images else None
    return formula_need(spec, ranks=ranks).as_dict()


def _fit(spec: RunSpec, pool: FeaturePool) -> dict[str, Any]:
    """`Fitting.as_dict` for the budget that the specification's method has."""
    from asi_core.training.fitting import fit

    budget = spec.method.memory_budget
    assert budget is not None
    return fit(spec, budget, pool=pool).as_dict()


def _calibrate(spec: RunSpec, pool: FeaturePool) -> dict[str, Any]:
    """`profiles_as_dict` of the trained layers, from two calibration batches."""
    from asi_core.training.calibration import calibrate

    return profiles_as_dict(calibrate(spec, pool, batches=2))


def _samples(spec: RunSpec, pool: FeaturePool) -> dict[str, Any]:
    """`sample_images` of the readable images of the specification's data set."""
    from asi_core.datasets import load_dataset
    from asi_core.datasets.samples import sample_images

    return sample_images(load_dataset(spec.dataset, skip_damaged=True))


JOB_KINDS: dict[str, JobKind] = {
    "measure": JobKind(
        _measure,
        _STEP,
        "Measuring one training step",
        # Since edition 2, an input that two layers read counts once.
        edition=2,
    ),
    "timeline": JobKind(
        _timeline,
        _STEP | {"apply_early", "optimizer", "momentum", "weight_decay"},
        "Measuring the memory of one step",
        # Since edition 2, weight gradients of large depthwise kernels are matrix products.
        edition=2,
    ),
    "timeline_formula": JobKind(
        _timeline_formula,
        (_STEP - {"pretrained", "seed"}) | {"apply_early", "optimizer", "momentum", "weight_decay"},
        "Computing the memory of one step",
        # As above, and small maps are computed in blocks.
        edition=2,
    ),
    "need": JobKind(
        _need,
        _STEP | {"apply_early", "optimizer", "momentum", "weight_decay"},
        "Computing what training needs",
    ),
    "fit": JobKind(
        _fit,
        (_START - {"micro_batch"}) | {"method", "lean", "apply_early", "optimizer", "momentum"},
        "Searching for what fits",
        # Since edition 2, ASI's factors are updated when needed, and timed once they have settled.
        edition=2,
    ),
    "calibrate": JobKind(_calibrate, _START, "Calibrating on two batches"),
    "samples": JobKind(_samples, frozenset({"dataset"}), "Checking all images"),
}


def job_kind(name: str) -> JobKind:
    """The kind of that name.

    Raises:
        InvalidInput: if there is none.
    """
    if name not in JOB_KINDS:
        raise InvalidInput(
            "a job must be of a known kind", repr(name), f"choose {' or '.join(JOB_KINDS)}"
        )
    return JOB_KINDS[name]
