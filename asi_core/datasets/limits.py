"""Limits for user images, and why.

All are far above what fine-tuning on a small device needs. They stop mistakes and malicious
archives.
"""

from __future__ import annotations

from typing import NamedTuple

from asi_core.units import GIB, MIB

# Names, labels and sizes of all images are held in memory, about 300 bytes each. Food-101, the
# largest published set here, has 101 000.
MOST_IMAGES = 500_000

# Files and folders to search: a path such as / given by mistake is reported within seconds.
MOST_ENTRIES = 1_000_000

# A file is read into memory as a whole. Photographs take 1 to 20 MiB.
LARGEST_FILE_BYTES = 64 * MIB

# All images together, uncompressed: ten times Food-101.
LARGEST_TOTAL_BYTES = 50 * GIB

# Uncompressed over compressed bytes of one zip member. Photographs hardly compress, and drawings
# as BMP rarely a hundredfold. The maximum of deflate is 1032, as archives made to exhaust memory
# use.
LARGEST_RATIO = 200

# Members up to this uncompressed size may exceed the ratio: a blank bitmap of screen size takes
# 6 MiB, and compresses a thousandfold.
SMALL_FILE_BYTES = 8 * MIB

# Pixels of one image; at three bytes each, 192 MiB decoded. Above the files of 64-megapixel
# cameras, and below the 89 million from which on Pillow warns.
MOST_PIXELS = 2**26

# Size of one browser upload; Streamlit's own limit (.streamlit/config.toml) is the same.
LARGEST_UPLOAD_BYTES = 20 * MIB

# Members of one browser upload, counted before they are listed: at 400 bytes per member, those of
# the largest upload. A zip of 20 MiB could hold 200 000 empty ones.
MOST_UPLOAD_MEMBERS = 50_000


class Total(NamedTuple):
    """Maximum number and size of several uploads together."""

    uploads: int
    size_bytes: int


# Per owner; per network address, half of the total, so that a single user cannot fill everything
# under several names; and in total on this installation.
MOST_UPLOADS = 20
NETWORK_UPLOADS = Total(500, GIB)
ALL_UPLOADS = Total(1000, 2 * GIB)
