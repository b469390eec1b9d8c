"""Runs that outlive a page: tables, store, engine and worker."""
