"""Runs that continue when their page is closed: tables, store, engine and worker."""
