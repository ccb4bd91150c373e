"""Networks that are linear, or bilinear, in what they read: exact losses and exact training."""
