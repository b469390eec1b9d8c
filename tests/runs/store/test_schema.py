"""Databases of every older version are migrated to this version, and keep their data."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect, select, text

from asi_core.errors import InvalidInput, Unavailable
from asi_core.methods import ASI, LoRAOverASI, Vanilla
from asi_core.runs.store import schema
from asi_core.runs.store.database import database_url, open_database
from asi_core.runs.store.guesses import GuessStore
from asi_core.runs.store.job_store import JobStore
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.store.tables import metadata
from asi_core.training.spec import RunSpec
from tests.postgres import fresh_database

# The tables as they were before a revision was stored.
_OLD = """
CREATE TABLE runs (
    id VARCHAR(32) PRIMARY KEY, comparison VARCHAR(32) NOT NULL, position INTEGER NOT NULL,
    owner VARCHAR(128) NOT NULL, spec JSON NOT NULL, status VARCHAR(16) NOT NULL,
    created_at FLOAT NOT NULL, started_at FLOAT, finished_at FLOAT, heartbeat_at FLOAT,
    attempt INTEGER NOT NULL, token VARCHAR(32), cancel_requested BOOLEAN NOT NULL,
    summary JSON, error TEXT);
CREATE TABLE jobs (
    id VARCHAR(32) PRIMARY KEY, kind VARCHAR(32) NOT NULL, key VARCHAR(64) NOT NULL,
    owner VARCHAR(128) NOT NULL, spec JSON NOT NULL, status VARCHAR(16) NOT NULL,
    created_at FLOAT NOT NULL, started_at FLOAT, finished_at FLOAT, heartbeat_at FLOAT,
    attempt INTEGER NOT NULL, token VARCHAR(32), result JSON, error TEXT);
INSERT INTO runs VALUES (
    'old', 'before', 0, 'me', '{"method": {"kind": "vanilla"}, "layers": 1}', 'completed',
    1.0, 2.0, 3.0, 3.0, 1, 'token', FALSE, NULL, NULL);
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'asi.sqlite'}"
        return
    with fresh_database(request.getfixturevalue("postgres"), tables=False) as url:
        yield url


def plain_engine(url: str) -> Engine:
    return create_engine(database_url(url))


def test_migrations_create_the_tables_of_the_code(empty_url: str) -> None:
    engine = open_database(empty_url)
    options = {"compare_type": True, "compare_server_default": True}
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_the_newest_revision_is_that_of_the_code() -> None:
    scripts = ScriptDirectory(str(schema._MIGRATIONS))
    assert scripts.get_heads() == [schema.REVISION]


def test_an_old_database_keeps_its_runs(empty_url: str) -> None:
    engine = plain_engine(empty_url)
    with engine.begin() as connection:
        for statement in _OLD.strip().split(";"):
            if statement.strip():
                connection.execute(text(statement.replace(":", "\\:")))
    engine.dispose()
    store = RunStore(empty_url)
    run = store.run("old")
    assert run is not None
    assert (run.owner, run.status, run.spec.layers) == ("me", "completed", 1)
    (made,) = store.create([run.spec], "me")
    assert store.attempts.claim(made.id) is not None
    store.close()


def test_a_run_of_infinite_weight_decay_can_be_read(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'asi.sqlite'}"
    store = RunStore(url)
    spec = RunSpec.model_validate({"method": {"kind": "vanilla"}, "layers": 1})
    endless, usual = store.create([spec, spec], "me")
    store.close()
    engine = plain_engine(url)
    kept = spec.model_dump_json().replace('"weight_decay":0.0001', '"weight_decay":Infinity')
    assert "Infinity" in kept
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE runs SET spec = :spec WHERE id = :id"), {"spec": kept, "id": endless.id}
        )
        for table in ("runs", "jobs"):
            connection.execute(text(f"ALTER TABLE {table} DROP COLUMN network"))
        connection.execute(text("ALTER TABLE runs DROP COLUMN begins_from"))
        connection.execute(text("DROP TABLE guesses"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0002'"))
    engine.dispose()
    store = RunStore(url)
    read = store.run(endless.id)
    assert read is not None
    assert torch.tensor(read.spec.weight_decay, dtype=torch.float32).isinf()
    assert read.spec.model_copy(update={"weight_decay": spec.weight_decay}) == spec
    assert store.run(usual.id) == usual
    store.close()


def test_older_runs_keep_their_update_at_every_step(empty_url: str) -> None:
    store, jobs = RunStore(empty_url), JobStore(empty_url)
    late = ASI(ranks=3, update="one_step_late")
    methods = (ASI(ranks=2), LoRAOverASI(ranks=2), late, Vanilla())
    specs = [RunSpec(method=method) for method in methods]
    runs = store.create(specs, "me")
    job = jobs.create("need", specs[0], "me")
    store.close()
    jobs.close()
    engine = plain_engine(empty_url)
    runs_table = metadata.tables["runs"]
    with engine.begin() as connection:
        for name in ("runs", "jobs"):
            table = metadata.tables[name]
            for row in connection.execute(select(table.c.id, table.c.spec)).all():
                method = dict(row.spec["method"])
                if method.get("update") == "when_needed":
                    method.pop("update")
                spec = {**row.spec, "method": method}
                connection.execute(table.update().where(table.c.id == row.id).values(spec=spec))
        # What cannot be read is left out by pages, and must not keep the store from opening.
        own_layers = [1, {}, {"method": 1}]
        broken: list[Any] = [{}, None, [1], {"method": None}, {"method": "asi"}]
        broken.append({"method": {"kind": "asi"}, "own_layers": own_layers})
        old = connection.execute(select(runs_table)).mappings().all()[0]
        for number, spec in enumerate(broken):
            row = {column.key: old[column] for column in runs_table.columns}
            row |= {"id": f"broken{number}", "spec": spec}
            connection.execute(runs_table.insert().values(row))
        connection.execute(text("UPDATE alembic_version SET version_num = '0006'"))
    engine.dispose()
    store, jobs = RunStore(empty_url), JobStore(empty_url)
    found = [store.run(run.id) for run in runs]
    assert [run and run.spec.method for run in found] == [
        ASI(ranks=2, update="every_step"),
        LoRAOverASI(ranks=2, update="every_step"),
        late,
        Vanilla(),
    ]
    asked = jobs.job(job.id)
    assert asked is not None
    assert asked.spec.method == ASI(ranks=2, update="every_step")
    store.close()
    jobs.close()


def test_a_database_of_before_there_were_guesses_takes_them(empty_url: str) -> None:
    open_database(empty_url).dispose()
    engine = plain_engine(empty_url)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE guesses"))
        connection.execute(text("ALTER TABLE runs DROP COLUMN begins_from"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0004'"))
    engine.dispose()
    store = GuessStore(empty_url)
    store.put("abcdefgh", "memory", "somebody", 3.0)
    assert store.values("abcdefgh", "memory") == [3.0]
    store.close()


def test_a_newer_database_is_left_alone(empty_url: str) -> None:
    open_database(empty_url).dispose()
    engine = plain_engine(empty_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Unavailable, match=r"newer version.*9999.*update the app"):
        open_database(empty_url)
    engine.dispose()


def test_a_failed_migration_leaves_nothing(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic import command

    real = command.upgrade

    def fails_late(config: object, revision: str) -> None:
        real(config, revision)  # type: ignore[arg-type]
        raise RuntimeError("the power went")

    monkeypatch.setattr(command, "upgrade", fails_late)
    with pytest.raises(RuntimeError, match="power"):
        open_database(empty_url)
    engine = plain_engine(empty_url)
    assert not inspect(engine).has_table("runs")
    engine.dispose()
    monkeypatch.undo()
    RunStore(empty_url).close()


def test_servers_that_start_at_once_go_one_by_one(empty_url: str) -> None:
    program = (
        "import sys; from asi_core.runs.store.run_store import RunStore; RunStore(sys.argv[1])"
    )
    command = [sys.executable, "-c", program, empty_url]
    servers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for server in servers:
        _, errors = server.communicate(timeout=120)
        assert server.returncode == 0, errors


@pytest.mark.parametrize("text", ["", "no address", "mysql://me@host/asi", "asi.sqlite"])
def test_invalid_urls_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"must be the URL of a database.*postgresql://"):
        database_url(text)


@pytest.mark.parametrize("name", ["postgres", "postgresql"])
def test_postgres_is_reached_with_the_driver_that_is_installed(name: str) -> None:
    url = database_url(f"{name}://me:secret@host/asi")
    assert url.render_as_string(hide_password=False) == "postgresql+psycopg://me:secret@host/asi"


def test_a_password_is_not_reported() -> None:
    with pytest.raises(InvalidInput) as refusal:
        database_url("mysql://me:secret@host/asi")
    assert "secret" not in str(refusal.value)
