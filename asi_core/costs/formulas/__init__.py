"""The closed forms of `methods` as equations that people read, with the numbers of one layer in.

No equation is written here: a method's counts are run with numbers that remember how they came
about (`asi_core.counting`), and its LaTeX, its LaTeX with numbers and its value come from that.
"""

from asi_core.costs.formulas.expression import Formula
from asi_core.costs.formulas.layer import layer_formulas

__all__ = ["Formula", "layer_formulas"]
