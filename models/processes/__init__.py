"""Random processes: a start, and a step from one state to the next."""
