"""What must hold whatever the order and whatever was refunded before."""
