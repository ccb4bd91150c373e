"""Nested (Matryoshka) representations: every prefix as good as a network of its size, at one exit or at every layer."""
