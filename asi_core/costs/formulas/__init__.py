"""The closed forms of `methods` as equations that people read, with the numbers of one layer in.

An equation is written once, as text; its LaTeX, its LaTeX with numbers, and its value all come from
that text, so that what is read is what was computed.
"""

from asi_core.costs.formulas.expression import Formula
from asi_core.costs.formulas.layer import layer_formulas

__all__ = ["Formula", "layer_formulas"]
