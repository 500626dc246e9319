"""Tests of the Salesforce stand-in, mostly through simple-salesforce."""
