"""Images to fine-tune on. A new kind of source is a file in this folder and a line in `_source`.

Names are those of `DATASETS`, or for images of one's own `imagefolder:PATH` and `upload:NAME`.
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
    """The cards of all data sets that have a name, by it."""

    def __getitem__(self, name: str) -> DatasetCard:
        return _NAMED[name].card

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMED)

    def __len__(self) -> int:
        return len(_NAMED)


DATASETS: Mapping[str, DatasetCard] = _Cards()


def register_dataset(source: Source) -> Source:
    """Make a data set known by its name, for this process; a package has an entry point instead.

    Raises:
        InvalidInput: if it is no `Source`, or its name is taken.
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
    """The card of `name`, without looking at the disk.

    Raises:
        InvalidInput: if there is no such data set.
    """
    return _source(name).card


def check_dataset(name: str, skip_damaged: bool = False) -> DatasetCard:
    """Check what can be checked before a run is queued, without decoding any image.

    Args:
        skip_damaged: whether images that are known to be damaged are left out of the counts.

    Returns:
        the card, with the counts and classes that were found.

    Raises:
        InvalidInput: if there is no such data set, a folder or zip is not laid out as it must be,
            or a class has no image without the damaged ones.
        Unavailable: if its files are missing or damaged.
    """
    return _source(name).check(skip_damaged)


def check_images(name: str) -> Iterator[int]:
    """Find out which images of a data set can be read, which `check_dataset` then knows.

    It takes about as long as decoding them once, and no time where it is known already.

    Yields:
        how many are left, now and then.

    Raises:
        InvalidInput, Unavailable: as `check_dataset`.
    """
    return _source(name).check_images()


def dataset_fingerprint(name: str) -> str:
    """What tells the images from others, without decoding any; of named ones their name, as they
    are checked against hashes in the code.

    Raises:
        InvalidInput, Unavailable: as `check_dataset`.
    """
    return _source(name).fingerprint()


def load_dataset(name: str, skip_damaged: bool = False) -> ImageData:
    """Check a data set and give access to its images; what is not here is downloaded.

    Args:
        skip_damaged: whether images that cannot be read are left out.

    Raises:
        InvalidInput: if there is no such data set, a folder or zip is not laid out as it must be,
            or a class has no image without the damaged ones.
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
            f"choose {', '.join(_NAMED)}, or {imagefolder.PREFIX}PATH for images of your own",
        )
    return _NAMED[name]
