"""Fine-tuning of networks that are nobody's but the user's: the events of a run of the zoo."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from itertools import islice
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from asi_core import Compression, estimate, fine_tune
from asi_core.costs.measurement import SavedBytes
from asi_core.errors import AsiError, InvalidInput, Unsupported
from asi_core.methods import METHODS
from asi_core.training.events import EvaluationEvent, Event, PreparedEvent, ProbeEvent, StepEvent
from asi_core.training.features import FeaturePool
from asi_core.training.layout import in_layout_, laid_out
from asi_core.training.schedules import learning_rate
from asi_core.training.setup import TrainingSetup
from asi_core.training.spec import RunSpec
from asi_core.zoo.build import build_model
from asi_core.zoo.cards import MODELS, ModelCard, WeightFile, register_model
from tests.datasets.few import few_images

LAYERS = ["2", "5", "10"]
HEAD = "12"
TIMES = ("prefix_seconds", "forward_seconds", "backward_seconds", "update_seconds")


class Small(nn.Sequential):
    """Two convolutions, and two linear layers before the classifier, on images of any size."""

    def __init__(self, classes: int = 4, dropout: float = 0.0) -> None:
        super().__init__(
            *(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
            *(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            *(nn.Dropout(dropout), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, classes)),
        )


def network(dropout: float = 0.0) -> Small:
    torch.manual_seed(3)
    return Small(dropout=dropout)


def images(count: int, size: int = 8) -> TensorDataset:
    generator = torch.Generator().manual_seed(count)
    labels = torch.randint(4, (count,), generator=generator)
    noise = torch.randn(count, 3, size, size, generator=generator)
    return TensorDataset(noise + labels[:, None, None, None] / 2, labels)


def config(method: Any = "vanilla", **given: Any) -> Compression:
    return Compression(method, **{"layers": LAYERS, "also_trained": HEAD, **given})


def steps(events: list[Event]) -> list[StepEvent]:
    return [event for event in events if isinstance(event, StepEvent)]


def test_without_compression_it_is_a_plain_loop() -> None:
    """The same order, dropout and schedule, to the last bit, over more than an epoch."""
    loader = DataLoader(images(40), batch_size=16, shuffle=True)
    model = network(dropout=0.3)
    training = fine_tune(model, loader, config(lean=False), steps=7, seed=5, momentum=0.9)
    found = steps(list(training))

    plain = network(dropout=0.3)
    plain[3].eval()
    trained = [p for n in (*LAYERS, HEAD) for p in plain.get_submodule(n).parameters()]
    plain.requires_grad_(False)
    for parameter in trained:
        parameter.requires_grad_(True)
    spec = training.spec
    optimiser = torch.optim.SGD(trained, momentum=0.9, weight_decay=spec.weight_decay)
    torch.manual_seed(5)
    batches = (batch for _ in range(3) for batch in loader)
    for step, (event, (x, labels)) in enumerate(zip(found, batches, strict=False), 1):
        optimiser.param_groups[0]["lr"] = learning_rate(spec, step)
        optimiser.zero_grad()
        with SavedBytes(plain) as saved:
            loss = F.cross_entropy(plain(x), labels)
        assert (event.loss, event.saved_bytes) == (loss.item(), saved.total)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, spec.clip_norm)
        optimiser.step()
    assert len(found) == 7
    assert model.training
    for name, value in plain.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


@pytest.fixture
def registered() -> Iterator[str]:
    """The same network under a name, so that a specification can train it."""
    card = ModelCard(
        name="small",
        title="Small",
        factory="tests.training.test_fine_tuning:Small",
        head=HEAD,
        head_features=16,
        layer_kind="conv",
        layer_count=3,
        parameter_count=0,
        modes=4,
        native_size=32,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        weights=WeightFile("none", None, None, "none"),
    )
    register_model(card)
    yield card.name
    MODELS.remove(card.name)


@pytest.mark.parametrize(
    "method", [{"kind": "vanilla"}, {"kind": "asi", "explained_variance": 0.7}], ids=str
)
def test_events_are_those_of_the_same_run_by_name(registered: str, method: dict[str, Any]) -> None:
    """All layers are trained, so that images and not features are what both read."""
    spec = RunSpec.model_validate(
        {
            "model": registered,
            "dataset": few_images(),
            "method": method,
            "layers": "all",
            "pretrained": False,
            "steps": 4,
            "batch_size": 32,
            "image_size": 32,
            "seed": 2,
        }
    )
    setup = TrainingSetup(spec, FeaturePool(2**24), torch.device("cpu"))
    batches = [setup.read(batch) for batch in islice(setup.batches(0), 4)]
    test = list(setup.test_batches())
    by_name = list(fine_tune(spec, features=FeaturePool(2**24)))

    model = build_model(registered, len(setup.data.classes), spec.seed, pretrained=False)
    layout = in_layout_(model)
    mine = [[(laid_out(v[0], layout), t) for v, t in part] for part in (batches, test)]
    recipe: dict[str, Any] = {"steps": 4, "seed": 2}
    own = fine_tune(model, mine[0], config(method, layers="all-conv"), test=mine[1], **recipe)
    by_module = list(own)
    assert [e.kind for e in by_module] == [e.kind for e in by_name]
    assert own.spec.batch_size == 32
    for one, other in zip(by_module, by_name, strict=True):
        if isinstance(one, PreparedEvent) and isinstance(other, PreparedEvent):
            assert one.layers == other.layers
            assert one.trained_parameters == other.trained_parameters
        elif isinstance(one, StepEvent):
            assert one.model_dump(exclude={*TIMES}) == other.model_dump(exclude={*TIMES})
        else:
            assert one.model_dump(exclude={"seconds"}) == other.model_dump(exclude={"seconds"})


def test_what_is_counted_is_what_the_formulas_say_of_each_batch() -> None:
    """Layers with methods of their own, a smaller last batch, and batches of another size."""
    data = [(*images(8)[:],), (*images(3)[:],), (*images(8, size=12)[:],)]
    compression = config({"kind": "asi", "ranks": 2}, per_layer={"5": "vanilla"})
    training = fine_tune(network(), data, compression, steps=4, probe_every=1)
    events = list(training)
    for event, (x, _) in zip(steps(events), [*data, data[0]], strict=True):
        cost = estimate(network(), compression, example=x)
        assert event.activation_bytes == cost.activation_bytes
        assert event.macs == cost.macs.total
    probes = [event for event in events if isinstance(event, ProbeEvent)]
    assert next([p.ranks for p in e.layers] for e in probes) == [(2, 2, 2, 2), None, (2, 2)]
    # A linear layer's rows of features have no picture.
    assert next([p.pictures is None for p in e.layers] for e in probes) == [False, False, True]
    assert training.spec.own_layers is not None
    assert [layer.method is None for layer in training.spec.own_layers] == [True, False, True]


class Recorded(nn.Module):
    """A network as those of transformers: keywords in, a record out."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, pixels: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.inner(pixels))


def test_mappings_records_and_accuracy_on_test_batches() -> None:
    x, labels = images(24)[:]
    batch = {"pixels": x, "labels": labels}
    model = Recorded()
    trained = Compression("vanilla", layers=["inner.5"], also_trained="inner.12")
    events = list(fine_tune(model, [batch], trained, test=[batch, batch], steps=3, seed=1))
    last = events[-1]
    assert isinstance(last, EvaluationEvent)
    model.eval()
    with torch.no_grad():
        logits = model(x).logits
    assert last.accuracy == pytest.approx((logits.argmax(1) == labels).float().mean().item())
    assert last.loss == pytest.approx(F.cross_entropy(logits, labels).item())
    assert [e.kind for e in fine_tune(model, [batch], trained, steps=1)][-1] == "probe"


def once() -> Iterator[Any]:
    yield images(8)[:]


BATCH = images(8)[:]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: fine_tune(m, [BATCH], "asi"), InvalidInput, "takes batches and a Compression"),
        (lambda m: fine_tune(m, [], config()), InvalidInput, "readable again and again"),
        (lambda m: list(fine_tune(m, once(), config(), steps=2)), InvalidInput, "again and again"),
        (lambda m: fine_tune(m, [BATCH], config(), test=once()), InvalidInput, "read once"),
        (lambda m: fine_tune(m, [BATCH[0]], config()), InvalidInput, "inputs and labels"),
        (
            lambda m: fine_tune(m, [(BATCH[0], BATCH[1].float())], config()),
            InvalidInput,
            "class indices, 0 and above, got torch.float32",
        ),
        (
            lambda m: fine_tune(m, [(BATCH[0], BATCH[1] - 4)], config()),
            InvalidInput,
            "class indices, 0 and above, got torch.int64",
        ),
        (
            lambda m: list(fine_tune(m, [BATCH], config(), test=[], steps=1)),
            InvalidInput,
            "test batches must not be empty",
        ),
        (
            lambda m: fine_tune(m, [(BATCH[0], BATCH[1] + 4)], config()),
            InvalidInput,
            "below 4, 8 of them",
        ),
        (lambda m: fine_tune(m, [BATCH], config(), step=3), InvalidInput, "recipe has steps"),
        (
            lambda m: fine_tune(m, [BATCH], config(), momentum=2),
            InvalidInput,
            "momentum must be at least 0 and below 1",
        ),
        (
            lambda m: fine_tune(m, [BATCH], config("asi", budget_bytes=9999)),
            InvalidInput,
            "Compression.from_plan",
        ),
        (
            lambda m: fine_tune(m, [BATCH], config("sparse")),
            InvalidInput,
            "train one by its name",
        ),
        (
            lambda m: fine_tune(RunSpec(method=METHODS["vanilla"]()), [BATCH]),
            InvalidInput,
            "own im",
        ),
        (
            lambda m: list(fine_tune(fine_tune(m, [BATCH], config(), steps=1).spec)),
            Unsupported,
            "Small \\(own\\) is a network that only its user's program has",
        ),
        (
            lambda m: list(fine_tune(m, [BATCH], config(), learning_rate=1e30, clip_norm=1e38)),
            AsiError,
            "lower the learning rate",
        ),
    ],
)
def test_refusals_are_sentences(
    call: Callable[[nn.Module], Any], error: type[AsiError], message: str
) -> None:
    with pytest.raises(error, match=message):
        call(network())


def test_what_is_refused_is_left_as_it_was() -> None:
    model = network()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InvalidInput, match="must be layers of the model"):
        fine_tune(model, [BATCH], config(layers=["no.such.layer"]))
    assert all(p.requires_grad for p in model.parameters())
    assert all(torch.equal(before[n], v) for n, v in model.state_dict().items())
