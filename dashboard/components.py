"""Own components: folders of JavaScript that this server serves to the pages."""

from __future__ import annotations

from pathlib import Path
from threading import Lock

from streamlit.components.v2.component_manager import BidiComponentManager
from streamlit.components.v2.manifest_scanner import ComponentConfig, ComponentManifest

_PROJECT = "asi_lab"
# Held while a component is registered.
REGISTERING = Lock()


def component_name(name: str) -> str:
    """The name under which a component is registered and its folder is served."""
    return f"{_PROJECT}.{name}"


def serve_assets(manager: BidiComponentManager, name: str, package: Path, folder: str) -> None:
    """Serve a package's folder like the assets of an installed component.

    Streamlit reads this declaration only from the pyproject.toml of installed packages, and an app
    that runs from its folder is not installed.
    """
    manifest = ComponentManifest(_PROJECT, "0", [ComponentConfig(name, folder)])
    manager.register_from_manifest(manifest, package)
