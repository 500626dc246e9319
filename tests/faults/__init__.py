"""Breaks things on purpose: by chance and on a schedule, and for real."""
