"""The closed forms of `methods` as readable equations, with the numbers of one layer inserted.

No equation is written here: a method's counts are run with numbers that record how they were
computed (`asi_core.counting`). The LaTeX, in symbols and in numbers, and the value follow from it.
"""

from asi_core.costs.formulas.expression import Formula
from asi_core.costs.formulas.layer import layer_formulas

__all__ = ["Formula", "layer_formulas"]
