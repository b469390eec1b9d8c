"""The Explore page: what training would keep and cost, by formula, for every method at once."""
