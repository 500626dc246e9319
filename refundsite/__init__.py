"""The site: settings, addresses, health and logs; no business in here."""
