"""Online SGD in high dimension."""
