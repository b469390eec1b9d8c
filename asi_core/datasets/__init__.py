"""Images to fine-tune on. To add a kind of source, write a file here and a line in `_source`.

Names are those of `DATASETS`, or `imagefolder:PATH` and `upload:NAME` for user images.
"""

from collections.abc import Iterator, Mapping

from asi_core.datasets import imagefolder, uploads
from asi_core.datasets.bundled import BUNDLED
from asi_core.datasets.cards import DatasetCard, Source
from asi_core.datasets.imagefolder import ImageFolder
from asi_core.datasets.published import PUBLISHED
from asi_core.datasets.splits import ArraySplit, FileSplit, ImageData, Split
from asi_core.datasets.uploads import Upload
from asi_core.errors import InvalidInput
from asi_core.registry import Registry


def _name_of(source: object) -> str:
    if not isinstance(source, Source):
        raise InvalidInput("a data set must be a Source", repr(source), "derive a class from it")
    return source.card.name


_NAMED: Registry[Source] = Registry(
    "data set", "asi_lab.datasets", _name_of, (*BUNDLED, *PUBLISHED)
)


class _Cards(Mapping[str, DatasetCard]):
    """The cards of all named data sets, by name."""

    def __getitem__(self, name: str) -> DatasetCard:
        return _NAMED[name].card

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMED)

    def __len__(self) -> int:
        return len(_NAMED)


DATASETS: Mapping[str, DatasetCard] = _Cards()


def register_dataset(source: Source) -> Source:
    """Register a data set by its name, for this process; packages can use an entry point instead.

    Raises:
        InvalidInput: if it is not a `Source`, or its name is taken.
    """
    return _NAMED.add(source)


__all__ = [
    "DATASETS",
    "ArraySplit",
    "DatasetCard",
    "FileSplit",
    "ImageData",
    "Split",
    "check_dataset",
    "check_images",
    "dataset_card",
    "dataset_fingerprint",
    "load_dataset",
    "register_dataset",
]


def dataset_card(name: str) -> DatasetCard:
    """The card of `name`, without reading from disk.

    Raises:
        InvalidInput: if there is no such data set.
    """
    return _source(name).card


def check_dataset(name: str, skip_damaged: bool = False) -> DatasetCard:
    """Check a data set before a run is queued, without decoding any image.

    Args:
        skip_damaged: whether images known to be damaged are left out of the counts.

    Returns:
        the card, with counts and classes.

    Raises:
        InvalidInput: if there is no such data set, a folder or zip has an invalid layout, or a
            class has no image without the damaged ones.
        Unavailable: if its files are missing or damaged.
    """
    return _source(name).check(skip_damaged)


def check_images(name: str) -> Iterator[int]:
    """Find out which images of a data set can be read; `check_dataset` then uses the result.

    It takes about as long as decoding them once. Images that were checked before are skipped.

    Yields:
        the number of images left, at intervals.

    Raises:
        InvalidInput, Unavailable: as `check_dataset`.
    """
    return _source(name).check_images()


def dataset_fingerprint(name: str) -> str:
    """A key for the images, computed without decoding any. For named data sets it is the name, as
    their content is checked against hashes in the code.

    Raises:
        InvalidInput, Unavailable: as `check_dataset`.
    """
    return _source(name).fingerprint()


def load_dataset(name: str, skip_damaged: bool = False) -> ImageData:
    """Check a data set and open its images; downloads what is missing.

    Args:
        skip_damaged: whether images that cannot be read are left out.

    Raises:
        InvalidInput: if there is no such data set, a folder or zip has an invalid layout, or a
            class has no image without the damaged ones.
        Unavailable: if its files are missing or cannot be downloaded, or images are damaged,
            naming all of them.
    """
    return _source(name).load(skip_damaged)


def _source(name: str) -> Source:
    if name.startswith(imagefolder.PREFIX):
        return ImageFolder(name.removeprefix(imagefolder.PREFIX))
    if name.startswith(uploads.PREFIX):
        return Upload(name.removeprefix(uploads.PREFIX))
    if name not in _NAMED:
        raise InvalidInput(
            "dataset must be a known one",
            repr(name),
            f"choose {', '.join(_NAMED)}, or {imagefolder.PREFIX}PATH for your own images",
        )
    return _NAMED[name]
