"""The Explore page: memory and cost of training with every method, by formula."""
