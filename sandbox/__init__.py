"""Stand-ins that speak Digital River's and Salesforce's wire formats, and the shop they serve.

Nothing here is shared with the refund desk: the arithmetic is written a second time so that
each side checks the other.
"""
