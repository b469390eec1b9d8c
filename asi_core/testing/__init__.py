"""The contract of methods, as checks that a package's tests can run."""

from asi_core.testing.methods import CHECKS, check_method

__all__ = ["CHECKS", "check_method"]
