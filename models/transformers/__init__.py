"""Tokens that attend to one another, and residual stacks."""
