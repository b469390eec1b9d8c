"""How often ASI's factors have to be iterated: accuracy at equal bytes."""
