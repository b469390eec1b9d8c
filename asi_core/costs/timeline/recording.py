"""Recording a step: the storages that it makes, what they are for, and its peak."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, Protocol, Self

from torch import Tensor, nn

from asi_core.costs.meters import SavedMeter, warm_tensors
from asi_core.costs.places import Place, Places
from asi_core.costs.storages import storage_reference, tensors_in
from asi_core.costs.timeline.allocator import Level
from asi_core.costs.timeline.records import Category, Lifetime, Moment, Source, Timeline, Use
from asi_core.costs.timeline.storages import Followed, Ran, StorageFollower

# The place of what runs before the trained part.
FROZEN_PART = "the frozen part"

_USES = frozenset(map(str, Use))


class HasState(Protocol):
    """An optimiser: its state holds tensors, by parameter."""

    @property
    def state(self) -> Mapping[Any, Any]: ...


class Recorder:
    """What a step says while it runs; records nothing itself."""

    def frozen(self) -> AbstractContextManager[None]:
        """Open during the forward pass of the frozen part, which keeps nothing."""
        return nullcontext()

    def forward(self) -> AbstractContextManager[None]:
        """Open during a forward pass and its loss: what it saves is kept for backward."""
        return nullcontext()

    def update(self) -> AbstractContextManager[None]:
        """Open during the update of the weights."""
        return nullcontext()


class StepRecorder(Recorder):
    """While open, records one training step of a model.

    Args:
        layer_names: of the trained layers.
        head: name of the classifier; None for a model without.
        optimiser: whose state is counted.
        batch: what the step reads, in nested lists and tuples: it is there before the step.
        frozen: the part of the network that runs before `model`, if the step runs it.
        mark: called before and after every operator.
        device: type of the device whose storages are recorded; None for all.
        follower: an operator's results as a step on real tensors gives them, or from shapes alone.

    Attributes:
        saved_bytes: what a forward pass saves for backward; the most of several passes.
    """

    def __init__(
        self,
        model: nn.Module,
        layer_names: Sequence[str],
        head: str | None,
        *,
        optimiser: HasState | None = None,
        batch: Any = (),
        frozen: nn.Module | None = None,
        follower: type[StorageFollower] = StorageFollower,
        mark: Callable[[], None] = lambda: None,
        device: str | None = None,
    ) -> None:
        self._model, self._optimiser, self._batch = model, optimiser, batch
        self._frozen = frozen
        self._places = Places(model, layer_names, head)
        self._saved = SavedMeter(model, self._places)
        self._follower = follower(self._places, mark, device)
        self._stack = ExitStack()
        self.saved_bytes = 0

    def __enter__(self) -> Self:
        self._know_what_is_there()
        for parameter in self._trained():
            hook = parameter.register_hook(self._note_gradient)
            self._stack.callback(hook.remove)
        self._stack.enter_context(self._places)
        self._stack.enter_context(self._follower)
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)
        self._follower.finish()
        self.note_gradients()
        for tensor in self._state():
            self._follower.use_as(tensor, Use.OPTIMISER)

    def note_gradients(self) -> None:
        """Note that the gradients that parameters have now are gradients."""
        for parameter in self._trained():
            if parameter.grad is not None:
                self._note_gradient(parameter.grad)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        with self._places.inside(Place(FROZEN_PART)):
            yield

    @contextmanager
    def forward(self) -> Iterator[None]:
        earlier = set(self._saved.storages)
        with self._saved, self._places.inside(Place("the loss", Category.HEAD_AND_LOSS)):
            yield
        new = (s.nbytes for key, s in self._saved.storages.items() if key not in earlier)
        self.saved_bytes = max(self.saved_bytes, sum(new))

    @contextmanager
    def update(self) -> Iterator[None]:
        with self._follower.updating():
            yield

    def timeline(
        self, source: Source, device: str, levels: Sequence[Level] | None = None
    ) -> Timeline:
        """The recorded step.

        Args:
            levels: the allocator's, before, within and after each operator, if it was recorded;
                by default the follower's.
        """
        levels = self._follower.levels if levels is None else levels
        self._saved.attribute_repeated()
        inside = [at.highest - at.last for at in levels[1::2]] or [0] * len(self._follower.ran)
        moments = tuple(
            Moment(ran.phase, ran.place, ran.operator, nbytes)
            for ran, nbytes in zip(self._follower.ran, inside, strict=True)
        )
        warm = {storage_reference(tensor).cdata for tensor in warm_tensors(self._model)}
        backward = [i for i, moment in enumerate(moments) if moment.phase == "backward"]
        after = backward[-1] + 1 if backward else len(moments)
        lifetimes = [
            part
            for storage in self._follower.followed
            for part in self._parts(storage, warm, after, len(moments))
        ]
        return Timeline(source, device, moments, tuple(lifetimes))

    @property
    def follower(self) -> StorageFollower:
        """What follows the storages."""
        return self._follower

    @property
    def ran(self) -> Sequence[Ran]:
        """The operators, in order."""
        return self._follower.ran

    def boundaries(self) -> list[int]:
        """Bytes of the followed storages when each operator ends, above those before the step."""
        changes = [0] * (len(self._follower.ran) + 1)
        for storage in self._follower.followed:
            if storage.first >= 0:
                changes[storage.first] += storage.nbytes
            if storage.end is not None:
                changes[storage.end] -= storage.nbytes
        level, found = 0, []
        for change in changes[:-1]:
            level += change
            found.append(level)
        return found

    def released_of_before(self) -> Iterator[tuple[int, int]]:
        """What was there before the step and has been released in it: the index of the first
        operator without it, and its bytes."""
        for storage in self._follower.followed:
            if storage.first < 0 and storage.end is not None:
                yield storage.end, storage.nbytes

    def _parts(
        self, storage: Followed, warm: set[int], after: int, count: int
    ) -> Iterator[Lifetime]:
        """The lifetime of a storage: two for what is kept for backward, and then a warm start."""
        end = count if storage.end is None else storage.end
        use, is_warm = self._use(storage), storage.reference.cdata in warm
        if is_warm and use not in _USES and end > after:
            yield Lifetime(storage.nbytes, use, storage.place, storage.first, after)
            yield Lifetime(storage.nbytes, Use.WARM_STARTS, storage.place, after, end)
        else:
            use = Use.WARM_STARTS if is_warm and use == Use.TRANSIENT else use
            yield Lifetime(storage.nbytes, use, storage.place, storage.first, end)

    def _use(self, storage: Followed) -> str:
        if storage.first < 0:
            return storage.use or Use.BATCH
        saved = self._saved.storages.get(storage.reference.cdata)
        if saved is not None:
            return str(saved.category)
        return storage.use or Use.TRANSIENT

    def _know_what_is_there(self) -> None:
        know = self._follower.know
        know(tensors_in(self._batch), Use.BATCH)
        know(self._trained(), Use.TRAINED_WEIGHTS)
        for part in (self._model, self._frozen):
            if part is not None:
                know([*part.parameters(), *part.buffers()], Use.FROZEN_WEIGHTS)
        know(warm_tensors(self._model), Use.WARM_STARTS)
        know(self._state(), Use.OPTIMISER)
        know((p.grad for p in self._trained() if p.grad is not None), Use.GRADIENTS)

    def _trained(self) -> list[nn.Parameter]:
        return [p for p in self._model.parameters() if p.requires_grad]

    def _state(self) -> list[Tensor]:
        return [] if self._optimiser is None else tensors_in(list(self._optimiser.state.values()))

    def _note_gradient(self, gradient: Tensor) -> None:
        self._follower.use_as(gradient, Use.GRADIENTS)
