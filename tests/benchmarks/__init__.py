"""Tests of the benchmark's report."""
