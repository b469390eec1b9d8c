"""Which files are images, by file extension, and what reads them."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import PurePosixPath

from PIL import features

# Installed by the extra `heic`; HEIF images are read if it is available.
HEIF_READER = "pillow_heif"

_ALWAYS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png", ".apng"),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}
_HEIF = (".heic", ".heif", ".hif")

# Extensions of images and videos that only other programs read.
_CAMERAS = (".raw", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2")
_DRAWINGS = (".svg", ".svgz", ".psd", ".ai", ".eps", ".xcf", ".ico", ".icns", ".tga", ".pcx")
_SCANS = (".dcm", ".nii", ".exr", ".hdr", ".jxl", ".jp2", ".j2k", ".avif", *_HEIF)
_FILMS = (".mp4", ".mov", ".avi", ".mkv", ".webm")
_PICTURES = frozenset((*_CAMERAS, *_DRAWINGS, *_SCANS, *_FILMS))
# Extensions of common non-image files: a folder with only these is not a class.
_TABLES = frozenset((".csv", ".tsv", ".json", ".jsonl", ".xlsx", ".xls", ".txt", ".xml"))
_TEXTS = frozenset((".md", ".rst", ".rtf", ".html", ".htm", ".pdf", ".tex", ".doc", ".docx"))
_SETTINGS = frozenset((".yaml", ".yml", ".toml", ".ini", ".cfg", ".log", ".css", ".js"))
_CODE = frozenset((".py", ".ipynb", ".sh", ".m", ".mat", ".npy", ".npz", ".pkl", ".h5", ".pt"))
_DOCUMENTS = _TABLES | _TEXTS | _SETTINGS | _CODE | {"", ".pth", ".onnx", ".db", ".sqlite"}
_ARCHIVES = frozenset((".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"))
# Files that operating systems and storage devices leave in folders. Hidden files are ignored
# anyway.
_WINDOWS = ("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information")
_JUNK = frozenset((*_WINDOWS, "icon\r", "__macosx", "@eadir", "#recycle"))


def _formats() -> dict[str, tuple[str, ...]]:
    found = dict(_ALWAYS)
    if features.check("jpg_2000"):
        found["JPEG2000"] = (".jp2", ".j2k")
    if features.check("avif"):
        found["AVIF"] = (".avif",)
    if find_spec(HEIF_READER) is not None:
        import_module(HEIF_READER).register_heif_opener()
        found["HEIF"] = _HEIF
    return found


# Pillow's name of each supported format, and its file extensions.
FORMATS = _formats()
SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
NAMES = ", ".join(FORMATS)


def is_image(name: str) -> bool:
    """Whether a relative name is an image's: by its extension, and with no junk part."""
    return suffix_of(name) in SUFFIXES and not is_junk(name)


def is_junk(name: str) -> bool:
    """Whether a part of a relative name is hidden, or made by an operating system."""
    return any(part.startswith(".") or part.lower() in _JUNK for part in PurePosixPath(name).parts)


def suffix_of(name: str) -> str:
    """The extension of a name in lower case, with its dot; empty if it has none."""
    return PurePosixPath(name).suffix.lower()


def is_picture(suffix: str) -> bool:
    """Whether files with this extension are images that cannot be read here."""
    return suffix in _PICTURES


def is_document(suffix: str) -> bool:
    """Whether files with this extension are never images."""
    return suffix in _DOCUMENTS


def is_table(suffix: str) -> bool:
    """Whether files with this extension may contain a table of classes."""
    return suffix in _TABLES


def is_archive(suffix: str) -> bool:
    """Whether files with this extension are archives."""
    return suffix in _ARCHIVES


def needs_heif_reader(suffix: str) -> bool:
    """Whether images with this extension need the extra `heic`, which is not installed."""
    return suffix in _HEIF and suffix not in SUFFIXES
