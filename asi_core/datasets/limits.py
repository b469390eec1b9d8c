"""The most that is taken from a folder or zip of somebody's own, and why.

All are far above what fine-tuning on a small device needs: they stop mistakes and hostile archives.
"""

from __future__ import annotations

from typing import NamedTuple

from asi_core.units import GIB, MIB

# Names, labels and sizes of all images are held in memory, about 300 bytes each. Food-101, the
# largest published set here, has 101 000.
MOST_IMAGES = 500_000

# Entries looked at for images: a path such as / given by mistake is told within seconds.
MOST_ENTRIES = 1_000_000

# A file is read into memory as a whole. Photographs have 1 to 20 MiB.
LARGEST_FILE_BYTES = 64 * MIB

# All images together, uncompressed: ten times Food-101.
LARGEST_TOTAL_BYTES = 50 * GIB

# Uncompressed over compressed bytes of one zip member. Photographs hardly shrink and drawings as
# BMP rarely a hundredfold; deflate itself ends at 1032, which is what archives made to fill a
# memory use.
LARGEST_RATIO = 200

# Uncompressed bytes of a member up to which the ratio does not matter: a blank bitmap of the size
# of a screen has six MiB, and shrinks a thousandfold.
SMALL_FILE_BYTES = 8 * MIB

# Of one image; decoded, three bytes each make 192 MiB. Above what cameras of 64 megapixels write,
# and below the 89 million from which on Pillow warns.
MOST_PIXELS = 2**26

# Of one upload through the browser; Streamlit's own limit (.streamlit/config.toml) is the same.
LARGEST_UPLOAD_BYTES = 20 * MIB

# Of one upload through the browser, counted before they are listed: at 400 bytes a member, those of
# the largest upload. A zip of 20 MiB has room for 200 000 empty ones.
MOST_UPLOAD_MEMBERS = 50_000


class Total(NamedTuple):
    """The most of several uploads together."""

    uploads: int
    size_bytes: int


# Of one owner; of those from one network address, which are half of all, so that nobody fills the
# rest by taking another name each time; and of all on this installation.
MOST_UPLOADS = 20
NETWORK_UPLOADS = Total(500, GIB)
ALL_UPLOADS = Total(1000, 2 * GIB)
