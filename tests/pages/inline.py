"""The worker replaced: what is submitted is executed in this process, when a test says so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import streamlit as st

from asi_core.runs.engine import worker
from asi_core.runs.engine.job_worker import execute_job
from asi_core.settings import read_settings
from dashboard import services


class InlineEngine:
    """Attributes: ids of the runs and jobs that wait."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.jobs: list[str] = []

    def submit(self, run_id: str) -> None:
        self.runs.append(run_id)

    def submit_job(self, job_id: str) -> None:
        self.jobs.append(job_id)

    def work(self) -> None:
        """Execute all that waits, jobs first."""
        url = read_settings().database_url
        for job_id in self.jobs:
            execute_job(job_id, url)
        for run_id in self.runs:
            worker.execute(run_id, url)
        self.jobs.clear()
        self.runs.clear()


def inline_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[InlineEngine]:
    """The engine that pages are given meanwhile; the body of fixtures."""
    st.cache_resource.clear()
    inline = InlineEngine()
    monkeypatch.setattr(services, "engine", lambda: inline)
    yield inline
    st.cache_resource.clear()
