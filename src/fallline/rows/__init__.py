"""Σ_μ: the sum over rows of what ``error.py`` says of a block."""
