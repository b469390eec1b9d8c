"""TensorBoard's event files of a run, where `tensorboard` is installed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from asi_core.errors import Unavailable
from asi_core.records import HEAD_LABEL
from asi_core.runs.records import RunRecord
from asi_core.training.events import (
    EvaluationEvent,
    Event,
    ProbeEvent,
    StepEvent,
    TimelineEvent,
)

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_OWN_FILES = "events.out.tfevents.*"


def scalars(event: Event) -> dict[str, float]:
    """The numbers of an event by name, with a group before the slash; without unknown ones.

    Example:
        >>> scalars(EvaluationEvent(step=15, accuracy=0.75, loss=0.5))
        {'test/accuracy': 0.75, 'test/loss': 0.5}
    """
    found: dict[str, float | None] = {}
    if isinstance(event, StepEvent):
        found = {
            "train/loss": event.loss,
            "train/accuracy": event.accuracy,
            "train/learning_rate": event.learning_rate,
            "bytes/saved_for_backward": event.saved_bytes,
            "bytes/inputs_by_formula": event.activation_bytes,
            "macs/step_by_formula": event.macs,
            "seconds/step": event.step_seconds,
            "seconds/forward": event.forward_seconds,
            "seconds/backward": event.backward_seconds,
        }
    elif isinstance(event, EvaluationEvent):
        found = {
            "test/accuracy": event.accuracy,
            "test/loss": event.loss,
            "test/balanced_accuracy": event.balanced_accuracy,
        }
    elif isinstance(event, TimelineEvent):
        found = {"bytes/peak_of_step": event.timeline.peak.nbytes}
    elif isinstance(event, ProbeEvent):
        for layer in event.layers:
            found[f"captured_energy/{layer.name}"] = layer.captured_energy
            found[f"gradient_cosine/{layer.name}"] = layer.gradient_cosine
            for mode, rank in enumerate(layer.ranks or ()):
                found[f"rank/{layer.name}/mode_{mode}"] = rank
    return {name: value for name, value in found.items() if value is not None}


class EventFiles:
    """Writes a run's numbers as event files; a listener of runs (`listeners.RunListener`).

    TensorBoard keeps single precision. Its clock is the time that was computed, from the start of
    the run on.

    Args:
        place: the run's folder; event files in it are replaced.

    Attributes:
        place: the same.

    Raises:
        Unavailable: if TensorBoard is not installed.
        OSError: if the folder is not writable.
    """

    def __init__(self, place: Path, run: RunRecord) -> None:
        self.place, self._writer = place, _writer(place)
        self._clock = run.started_at or run.created_at
        text = json.dumps(run.spec.model_dump(mode="json"), indent=2)
        # Indented by four spaces, Markdown shows it as it is.
        self._writer.add_text("specification", "    " + text.replace("\n", "\n    "))

    @classmethod
    def of_run(cls, folder: Path, run: RunRecord) -> Self:
        """Files in a folder of the run: its comparison, then its method and id."""
        label = HEAD_LABEL if run.spec.layers == 0 else run.spec.method.settings_label
        name = re.sub(r"[^\w.]+", "-", f"{label} seed {run.spec.seed} {run.id}")
        return cls(folder / run.comparison / name, run)

    def on_event(self, event: Event) -> None:
        """Write the event's numbers."""
        if isinstance(event, StepEvent):
            self._clock += event.prefix_seconds + event.step_seconds
        elif isinstance(event, ProbeEvent):
            self._clock += event.seconds or 0.0
        for name, value in scalars(event).items():
            self._writer.add_scalar(name, value, event.step, walltime=self._clock)

    def on_end(self, status: str, summary: dict[str, Any] | None) -> None:
        """Write what is left, and close the files."""
        self._writer.close()


def _writer(place: Path) -> SummaryWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise Unavailable(
            "TensorBoard's event files need the package tensorboard, which is not installed here: "
            "`pip install 'asi-lab[tensorboard]'`."
        ) from None
    place.mkdir(parents=True, exist_ok=True)
    for earlier in place.glob(_OWN_FILES):
        earlier.unlink()
    return SummaryWriter(str(place))
