"""Two-layer ReLU networks as convex programs: global optima, certificates, and where gradient descent stops short."""
