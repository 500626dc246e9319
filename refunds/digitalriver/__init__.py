"""Digital River's API: the client, what it reads, and what can go wrong. Knows no Django."""
