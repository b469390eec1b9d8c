"""What an installed package consists of; all else about it is in pyproject.toml.

The app (`app.py`, `pages/`, `dashboard/`) and `data/` lie beside the code. They are installed
inside of the package, so that no package called `pages` or `dashboard` is in anybody's way.
"""

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

DATA, APP = "asi_core._data", "asi_core._app"
APP_FOLDERS = {
    f"{APP}.{name}": name.replace(".", "/")
    for name in find_packages(include=["dashboard*", "pages*"])
}


class BuildPy(build_py):
    """Takes of the project's own folder `app.py` alone: this file lies there too."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        found = super().find_package_modules(package, package_dir)
        return [module for module in found if package != APP or module[1] == "app"]


setup(
    cmdclass={"build_py": BuildPy},
    packages=[*find_packages(include=["asi_core*"]), DATA, APP, *APP_FOLDERS],
    package_dir={DATA: "data", APP: ".", **APP_FOLDERS},
    package_data={
        "asi_core": ["py.typed", "facts/*.json"],
        DATA: [
            *("*.npz", "*.txt", "*.svg", "examples/*.gz", "examples/jobs/*.gz"),
            "configurations/*.json",
        ],
        APP: [".streamlit/config.toml"],
        f"{APP}.dashboard": ["live_chart_assets/*"],
    },
)
