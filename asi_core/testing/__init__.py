"""What a method must hold, as checks that a package's own tests can run."""

from asi_core.testing.methods import CHECKS, check_method

__all__ = ["CHECKS", "check_method"]
