"""What is run and not applied: a start, and a step from one state to the next."""
