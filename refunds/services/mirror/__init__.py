"""The mirror: orders as Salesforce has them, and how they get here."""
