"""The contract of methods, as checks that a package's tests can run."""

from asi_core.testing.methods import CHECKS, Arithmetic, check_method

__all__ = ["CHECKS", "Arithmetic", "check_method"]
