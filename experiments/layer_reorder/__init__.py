"""Residual layers left out, swapped, shuffled or run in parallel: how much the output changes."""
