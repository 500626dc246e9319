"""Salesforce's records as the desk reads them. Knows no Django."""
