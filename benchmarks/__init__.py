"""Measures every page of the desk beside a floor page: ``make bench``.

A time alone says more of the machine than of the code. So each page is measured as a ratio to a
floor that nothing built here can go below: a signed-in view with the base template, a form of
three fields and one query, asked for in the same process, in turns with the pages.
"""
