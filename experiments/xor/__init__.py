"""SGD finds, then tunes, the features of XOR in a two-layer ReLU network."""
