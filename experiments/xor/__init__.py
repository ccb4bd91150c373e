"""SGD on XOR."""
