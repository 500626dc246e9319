"""The demo: its accounts, and the first filling of the desk with made-up orders."""
