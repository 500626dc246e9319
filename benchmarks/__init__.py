"""Measures the desk beside floors that nothing built here can go below: ``make bench``.

A time alone says more of the machine than of the code. So every page is measured as a ratio to a
signed-in view with the base template, a form of three fields and one query, asked for in the same
process, in turns with the pages; the webhook to a view that inserts one row, through gunicorn; and
the rounds over many refunds to the calls and reads they cannot do without, in how much memory.
"""
