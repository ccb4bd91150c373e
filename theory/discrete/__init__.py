"""Votes and other laws of finitely many outcomes."""
