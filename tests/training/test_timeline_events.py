"""The memory of a step as an event: what is kept of it, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from pydantic import ValidationError

from asi_core.costs.timeline.records import Timeline
from asi_core.runs.validity.probes import check_events
from asi_core.runs.validity.specs import InvalidRun
from asi_core.training.events import EVENT_ADAPTER, MOST_MOMENTS, TimelineEvent
from tests.costs.timeline.test_records import timelines
from tests.runs.kept import spec, step_timeline


@given(timelines())
def test_an_event_has_the_timeline_and_goes_through_json(timeline: Timeline) -> None:
    event = TimelineEvent.of(2, timeline)
    assert event.timeline == timeline.thinned(MOST_MOMENTS)
    assert EVENT_ADAPTER.validate_json(event.model_dump_json()) == event


@pytest.mark.parametrize(
    "changes",
    [
        {"moments": ()},
        {"moments": ((99, 0, 0, 1),)},
        {"names": ("a phase", "fc", "mm", "batch"), "moments": ((0, 1, 2, 0),)},
        {"lifetimes": ((8, 99, 1, 0, 1),)},
        {"lifetimes": ((8, 1, 1, 0, 1),)},
        {"lifetimes": ((8, 3, 1, 1, 0),)},
        {"lifetimes": ((8, 3, 1, -2, 1),)},
        {"lifetimes": ((8, 3, 1, 0, 9),)},
        {"lifetimes": ((-8, 3, 1, 0, 1),)},
        {"lifetimes": ((8, 3, 1, -1, 0),)},
        {"names": ("x" * 1000,)},
    ],
    ids=lambda changes: " ".join(map(str, changes.items()))[:40],
)
def test_what_is_no_step_is_refused(changes: dict[str, Any]) -> None:
    sound = {
        "step": 2,
        "device": "cpu",
        "names": ("forward", "fc", "mm", "batch"),
        "moments": ((0, 1, 2, 0),),
        "lifetimes": ((8, 3, 1, 0, 1),),
    }
    assert TimelineEvent.model_validate(sound).timeline.peak.nbytes == 8
    with pytest.raises(ValidationError):
        TimelineEvent.model_validate({**sound, **changes})


def test_a_run_has_one_timeline_of_one_of_its_steps() -> None:
    run, event = spec(), step_timeline()
    check_events(run, [event])
    with pytest.raises(InvalidRun, match="two steps"):
        check_events(run, [event, event])
    with pytest.raises(InvalidRun, match="step 99"):
        check_events(run, [event.model_copy(update={"step": 99})])
