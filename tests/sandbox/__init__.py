"""Tests of the Digital River stand-in."""
