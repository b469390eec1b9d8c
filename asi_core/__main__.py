"""`python -m asi_core`."""

from asi_core.cli import main

raise SystemExit(main())
