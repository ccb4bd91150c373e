"""Tokens on a sphere, moved by attention, become clusters: when, and how many."""
