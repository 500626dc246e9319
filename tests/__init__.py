"""The tests of the refund desk."""
