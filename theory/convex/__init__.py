"""Training as a convex program: duality and certificates of ReLU networks."""
