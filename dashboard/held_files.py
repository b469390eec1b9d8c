"""Limits on uploaded files, which Streamlit holds in memory until the visitor's window closes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import streamlit as st
from streamlit.runtime import Runtime, get_instance
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile

from asi_core.errors import AsiError, one_sentence
from asi_core.runs.submit.networks import network_of
from asi_core.settings import Limits, read_settings
from asi_core.units import format_bytes
from dashboard.asgi import Application, Message, Middleware, Receive, Send, answer, headers_of
from dashboard.plain import plain
from dashboard.visitor import sign_in_reason, why_not

_PATH = "/_stcore/upload_file/"


class HeldFiles(Middleware):
    """ASGI middleware that checks who may upload files, and limits how much the server holds."""

    def __init__(self, app: Application) -> None:
        super().__init__(app)
        # Session and size of each file that is being uploaded.
        self._coming: list[tuple[str, int]] = []
        # Session that holds files -> its network.
        self._networks: dict[str, str | None] = {}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        session = _session_of(scope)
        if session is None:
            await self._app(scope, receive, send)
            return
        refusal = _may_not(scope, session) or self._no_room(scope, session)
        if refusal is not None:
            await answer(send, *refusal)
            return
        coming = session, _size(scope)
        self._coming.append(coming)
        try:
            await self._app(scope, receive, send)
        finally:
            self._coming.remove(coming)

    def _no_room(self, scope: Message, session: str) -> tuple[int, str] | None:
        if scope["method"] != "PUT":
            return None
        size = _size(scope)
        if size < 0:
            return 411, "An upload needs a Content-Length header.\n"
        held = self._sizes()
        self._networks = {name: self._networks.get(name) for name in held}
        client = scope.get("client")
        network = self._networks[session] = network_of(client[0] if client else None)
        same_network = [
            sum(sizes) for name, sizes in held.items() if self._networks[name] == network
        ]
        everywhere = sum(map(sum, held.values()))
        return _too_much(
            read_settings().limits, size, held.get(session, []), sum(same_network), everywhere
        )

    def _sizes(self) -> dict[str, list[int]]:
        """Bytes of each file that is held or being uploaded, by session."""
        sizes = {name: list(each) for name, each in _held(get_instance()).items()}
        for session, size in self._coming:
            sizes.setdefault(session, []).append(size)
        return sizes


def upload_box(
    name: str, label: str, hint: str, keep: Callable[[UploadedFile], str], kind: str = "zip"
) -> None:
    """A box that uploads a file; `show_upload_message` then shows whether it was stored.

    Args:
        name: prefix of the session state's keys.
        keep: stores the file and returns a message; raises AsiError to refuse the file.
        kind: ending of the file's name.
    """
    reason, count = why_not(), f"{name}-count"
    # A new key after each upload: the last file is neither held in memory nor offered again.
    key = f"{name}-{st.session_state.get(count, 0)}"

    def store() -> None:
        file = st.session_state[key]
        if not isinstance(file, UploadedFile):
            # Removed in the widget, or the session was disconnected for too long.
            return
        st.session_state[count] = st.session_state.get(count, 0) + 1
        try:
            set_upload_message(name, "kept", keep(file))
        except AsiError as error:
            set_upload_message(name, "refused", one_sentence(error))
        finally:
            _release(file)

    disabled = reason is not None
    help_text = reason or hint
    st.file_uploader(label, type=kind, key=key, disabled=disabled, on_change=store, help=help_text)


def set_upload_message(name: str, kind: Literal["kept", "refused"], sentence: str) -> None:
    """Set the message that `show_upload_message` shows next."""
    st.session_state[f"{name}-message"] = kind, sentence


def show_upload_message(name: str) -> None:
    """Show the message of the last upload, once."""
    if message := st.session_state.pop(f"{name}-message", None):
        kind, sentence = message
        (st.success if kind == "kept" else st.error)(plain(sentence))


def _release(file: UploadedFile) -> None:
    """Release an uploaded file that has been read: its window may stay open for hours."""
    if (context := get_script_run_ctx()) is not None:
        manager: Any = context.uploaded_file_mgr
        manager.remove_file(context.session_id, file.file_id)


def _session_of(scope: Message) -> str | None:
    """The session for which a request uploads or deletes a file; None for other requests."""
    if scope["type"] != "http" or scope["method"] not in ("PUT", "DELETE"):
        return None
    _, is_upload, rest = str(scope["path"]).partition(_PATH)
    return rest.split("/")[0] if is_upload else None


def _may_not(scope: Message, session: str) -> tuple[int, str] | None:
    """The status and message that refuse an upload by a visitor without write access, if any."""
    settings = read_settings()
    try:
        settings.check_may_change()
    except AsiError as error:
        return 403, one_sentence(error) + "\n"
    if settings.user_header:
        if not any(headers_of(scope, settings.user_header)):
            return 403, "The proxy did not name the visitor: sign in through its address.\n"
        return None
    known = get_instance().get_app_session(session)
    # Streamlit itself refuses unknown sessions.
    reason = None if known is None else sign_in_reason(known._user_info)
    return None if reason is None else (403, reason + "\n")


def _too_much(
    limits: Limits, size: int, session: list[int], same_network: int, everywhere: int
) -> tuple[int, str] | None:
    if len(session) >= limits.session_files:
        return 413, f"At most {limits.session_files} files are held for one window: reload it.\n"
    for taken, most, whose in (
        (sum(session), limits.session_bytes, "for one window: reload it"),
        (same_network, limits.held_bytes // 2, "for one network address: try again later"),
        (everywhere, limits.held_bytes, "for all visitors: try again later"),
    ):
        if taken + size > most:
            return 413, f"At most {format_bytes(most)} of files are held {whose}.\n"
    return None


def _held(runtime: Runtime) -> dict[str, list[int]]:
    manager: Any = runtime.uploaded_file_mgr
    storage: dict[str, dict[str, Any]] = manager.file_storage
    return {
        name: [len(file.data) for file in list(files.values())]
        for name, files in list(storage.items())
        if files
    }


def _size(scope: Message) -> int:
    """The request's Content-Length; -1 without a valid one."""
    lengths = headers_of(scope, "content-length")
    is_valid = len(lengths) == 1 and lengths[0].isascii() and lengths[0].isdecimal()
    return int(lengths[0]) if is_valid else -1
