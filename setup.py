"""What an installed package consists of; all else about it is in pyproject.toml.

`data/` lies beside the code, and is installed inside of the package.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["asi_core*"]), "asi_core._data"],
    package_dir={"asi_core._data": "data"},
    package_data={
        "asi_core": ["py.typed", "facts/*.json"],
        "asi_core._data": ["*.npz", "*.txt", "*.svg", "examples/*.gz", "examples/jobs/*.gz"],
    },
)
