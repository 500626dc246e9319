"""The desk's pages: each view takes a request to one form and one service, or to a selector."""
