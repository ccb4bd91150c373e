"""Tokens as particles."""
