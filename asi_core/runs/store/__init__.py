"""The database of runs and jobs: tables, migrations, and the classes that read and write them."""
