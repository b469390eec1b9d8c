"""What is asked for: whether it may run here, how long it will take, what it is the same as."""
