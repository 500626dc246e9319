"""Tests of the Digital River client and of what it reads."""
