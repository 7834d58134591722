"""A peer: what it shares, what it serves, what it fetches."""
