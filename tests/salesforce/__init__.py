"""Tests of what is read from Salesforce."""
