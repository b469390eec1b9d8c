"""A replacement of the worker that executes submitted runs and jobs in this process, on demand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import streamlit as st

from asi_core.runs.engine import worker
from asi_core.runs.engine.job_worker import execute_job
from asi_core.settings import read_settings
from dashboard import services


class InlineEngine:
    """Holds the ids of submitted runs and jobs until `work` executes them."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.jobs: list[str] = []

    def submit(self, run_id: str) -> None:
        self.runs.append(run_id)

    def submit_job(self, job_id: str) -> None:
        self.jobs.append(job_id)

    def work(self) -> None:
        """Execute all submitted jobs and runs, jobs first."""
        url = read_settings().database_url
        for job_id in self.jobs:
            execute_job(job_id, url)
        for run_id in self.runs:
            worker.execute(run_id, url)
        self.jobs.clear()
        self.runs.clear()


def inline_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[InlineEngine]:
    """Replace the engine of pages; the body of fixtures."""
    st.cache_resource.clear()
    inline = InlineEngine()
    monkeypatch.setattr(services, "engine", lambda: inline)
    yield inline
    st.cache_resource.clear()
