"""Two-layer ReLU networks as convex programs."""
