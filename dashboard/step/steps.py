"""The steps that are compared, and what is known of each by formula and measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from asi_core.costs.timeline.records import Timeline
from asi_core.methods import REFERENCE_KIND
from asi_core.runs.records import EXAMPLE_OWNER
from asi_core.runs.store.job_store import JobRecord
from asi_core.training.spec import RunSpec
from asi_core.zoo.weights import local_weights
from dashboard import services
from dashboard.setup import Setup
from dashboard.step.controls import PLAIN, StepControls, step_label

FORMULA, MEASURED = "timeline_formula", "timeline"


@dataclass(frozen=True)
class Step:
    """A step that is compared.

    Attributes:
        choice: as in `StepControls.chosen`.
        spec: what is measured. It starts from random weights if the pretrained ones are not here
            and the method's bytes do not depend on them.
    """

    choice: str
    spec: RunSpec

    @property
    def label(self) -> str:
        return step_label(self.choice)

    @property
    def formula_spec(self) -> RunSpec | None:
        """What the formula is asked; None if the ranks depend on the images."""
        if self.spec.method.depends_on_images:
            return None
        return self.spec.model_copy(update={"pretrained": False})


@dataclass(frozen=True)
class KnownStep:
    """A step, and its timeline from one source.

    Attributes:
        job: id of the job that computed or measured it.
        is_shipped: whether that was elsewhere, for the app's examples.
    """

    step: Step
    job: str
    timeline: Timeline
    is_shipped: bool = False

    @property
    def label(self) -> str:
        return self.step.label


def compared_steps(setup: Setup, controls: StepControls) -> list[Step]:
    """The steps, in order; raises AsiError or ValidationError for an invalid value."""
    return [_step(setup, controls, choice) for choice in controls.chosen]


def _step(setup: Setup, controls: StepControls, choice: str) -> Step:
    changes = dict(controls.how)
    if choice in (PLAIN, REFERENCE_KIND):
        changes["lean"] = choice == REFERENCE_KIND
    method = setup.method(REFERENCE_KIND if choice == PLAIN else choice)
    at_hand = method.depends_on_images or local_weights(setup.card) is not None
    return Step(choice, setup.run_spec(method, pretrained=at_hand, **changes))


def known_steps(steps: Sequence[Step], kind: str) -> dict[str, KnownStep]:
    """The steps whose timeline is stored, by label; `kind` is `FORMULA` or `MEASURED`."""
    specs = {s.label: s.formula_spec if kind == FORMULA else s.spec for s in steps}
    wanted = [spec for spec in specs.values() if spec is not None]
    jobs: Mapping[RunSpec, JobRecord] = services.jobs().answers(kind, wanted) if wanted else {}
    found = {}
    for step in steps:
        spec = specs[step.label]
        if spec is not None and (job := jobs.get(spec)) is not None:
            found[step.label] = KnownStep(
                step, job.id, _timeline(job.id), is_shipped=job.owner == EXAMPLE_OWNER
            )
    return found


@lru_cache(maxsize=32)
def _timeline(job_id: str) -> Timeline:
    job = services.jobs().job(job_id)
    assert job is not None
    assert job.result is not None
    return Timeline.from_dict(job.result)
