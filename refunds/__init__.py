"""The refund desk: orders, what is left of them, and the refunds sent to Digital River."""
