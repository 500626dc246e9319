"""Tests of the site: settings, health, logs, sign-in."""
