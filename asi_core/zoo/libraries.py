"""Networks as torchvision, timm, transformers and Python files build, load and describe them."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from asi_core.errors import InvalidInput, Unavailable, Unsupported, one_sentence
from asi_core.zoo.cards import WeightFile
from asi_core.zoo.hugging_face import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    USUAL_SIZE,
    built_from_configuration,
    pretrained_classifier,
    published_on_the_hub,
)
from asi_core.zoo.outside import check_may_build

_USUAL_CLASSES = 1000
# Files that this process has read as modules, by their name.
_MODULES: dict[str, Any] = {}


def build_outside(name: str) -> nn.Module:
    """The network as its library builds it, without weights.

    Raises:
        InvalidInput: if there is no such network, or this process may not build it.
        Unavailable: if its library is missing.
    """
    check_may_build(name)
    if ".py:" in name:
        return _of_file(name)
    library, _, own_name = name.partition("/")
    builders: dict[str, Callable[[str], nn.Module]] = {
        "torchvision": _of_torchvision,
        "timm": _of_timm,
        "hf": lambda _: built_from_configuration(name),
        "config": lambda _: built_from_configuration(name),
    }
    return builders[library](own_name)


def load_outside(name: str) -> nn.Module:
    """The network with its published weights, through its library's own loader.

    Raises:
        Unavailable: if they cannot be had, with what can be done.
    """
    check_may_build(name)
    library, _, own_name = name.partition("/")
    try:
        if library == "timm":
            return _timm_network(own_name, pretrained=True)
        if library == "hf":
            return pretrained_classifier(own_name)
    except Exception as error:
        # Whatever a hub client raises: no network, no such file, a wrong checksum.
        raise Unavailable(
            f"the weights of {name} cannot be loaded ({one_sentence(error)[:200].rstrip('.')}): "
            "connect this machine to the hub, name a local folder, or start from random weights "
            "(--random-weights)."
        ) from error
    raise Unavailable(
        f"{name} has no published weights here: start from random weights (--random-weights)."
    )


def key_adapter(name: str) -> Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]:
    """What turns the keys of a published file into those of the network."""
    # torchvision's files of DenseNets are older than its names of their layers.
    return _densenet_keys if name.startswith("torchvision/densenet") else dict


def _densenet_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    old = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12].*)")
    return {old.sub(r"\1\2", name): value for name, value in state.items()}


def published_facts(name: str, model: nn.Module) -> dict[str, Any]:
    """Weights, image size and normalisation, as the library publishes them."""
    library, _, own = name.partition("/")
    if ".py:" in name:
        return {
            "native_size": int(getattr(model, "image_size", USUAL_SIZE)),
            "mean": tuple(getattr(model, "mean", IMAGENET_MEAN)),
            "std": tuple(getattr(model, "std", IMAGENET_STD)),
            "weights": _no_weights(name),
        }
    if library == "torchvision":
        return _published_by_torchvision(own)
    if library == "timm":
        found = cast(Any, model).pretrained_cfg
        tag = found.get("hf_hub_id") or found.get("url") or ""
        return {
            "native_size": int(found["input_size"][-1]),
            "mean": tuple(found["mean"]),
            "std": tuple(found["std"]),
            "weights": WeightFile(
                f"{name} {tag}", None, None, f"published as {tag}, through timm", library=True
            ),
        }
    return published_on_the_hub(own, model)


def named_classifiers(name: str, model: nn.Module) -> list[nn.Module]:
    """Modules that hold a network's classifiers, as its library names them; empty if it does
    not."""
    if not name.startswith("timm/"):
        return []
    known = cast(Any, model)
    found = known.get_classifier()
    modules = list(found) if isinstance(found, (tuple, list)) else [found]
    # VOLO's second one, of which the library does not tell.
    modules.append(getattr(known, "aux_head", None))
    return [module for module in modules if isinstance(module, nn.Module)]


def _published_by_torchvision(name: str) -> dict[str, Any]:
    from torchvision import models

    weights = list(models.get_model_weights(name))
    if not weights:
        usual = {"native_size": USUAL_SIZE, "mean": IMAGENET_MEAN, "std": IMAGENET_STD}
        return {**usual, "weights": _no_weights(f"torchvision/{name}")}
    best = models.get_model_weights(name).DEFAULT
    transforms, address = best.transforms(), best.url
    official = address.rpartition("/")[2]
    digest = official.rpartition("-")[2].partition(".")[0]
    licence = "ImageNet weights by the PyTorch team, BSD-3-Clause, from torchvision"
    return {
        "native_size": int(transforms.crop_size[0]),
        "mean": tuple(transforms.mean),
        "std": tuple(transforms.std),
        "weights": WeightFile(official, digest, address, licence),
    }


def _no_weights(name: str) -> WeightFile:
    return WeightFile(f"{name} has none", None, None, "no weights are published")


def _of_torchvision(name: str) -> nn.Module:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise _unknown(f"torchvision/{name}", known)
    # Said so, or it warns; the default start of the two takes minutes to draw.
    own = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    model: nn.Module = models.get_model(name, weights=None, **own)
    return model


def _of_timm(name: str) -> nn.Module:
    import timm

    if not timm.is_model(name):
        raise _unknown(f"timm/{name}", timm.list_models())
    return _timm_network(name, pretrained=False)


def _timm_network(name: str, *, pretrained: bool) -> nn.Module:
    import timm

    model: nn.Module = timm.create_model(name, pretrained=pretrained)
    if not cast(Any, model).num_classes:
        # Published without a classifier, which fine-tuning replaces anyway.
        cast(Any, model).reset_classifier(_USUAL_CLASSES)
    return model


def _of_file(name: str) -> nn.Module:
    text, _, factory = name.rpartition(":")
    path = Path(text)
    if not path.is_file():
        raise InvalidInput("a model's file must exist", repr(path.name), "check its path")
    function = getattr(_module(path), factory, None)
    if not callable(function):
        raise InvalidInput(
            f"a model's function must be in {path.name}", repr(factory), "check its name"
        )
    try:
        model = function()
    except Exception as error:
        raise Unsupported(
            f"{path.name}:{factory} failed ({type(error).__name__}: {one_sentence(error)[:200]})."
        ) from error
    if not isinstance(model, nn.Module):
        raise InvalidInput(
            f"{factory} must return a torch.nn.Module", type(model).__name__, "change it"
        )
    return model


def _module(path: Path) -> Any:
    """The file as a module, read again when it has changed."""
    key = f"{path.resolve()}@{path.stat().st_mtime_ns}"
    if key not in _MODULES:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # Files beside it can be imported, as if it were run.
        sys.path.insert(0, str(path.resolve().parent))
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise Unsupported(
                f"{path.name} cannot be read ({type(error).__name__}: {one_sentence(error)[:200]})."
            ) from error
        finally:
            sys.path.pop(0)
        _MODULES[key] = module
    return _MODULES[key]


def _unknown(name: str, known: Sequence[str]) -> InvalidInput:
    near = get_close_matches(name.partition("/")[2], known, 3, 0.5)
    library = name.partition("/")[0]
    return InvalidInput(
        f"a model must be one of {library}'s",
        repr(name),
        f"did you mean {', '.join(f'{library}/{n}' for n in near)}" if near else "check its name",
    )
