"""The Train page: the form of a comparison, and the comparison live."""
