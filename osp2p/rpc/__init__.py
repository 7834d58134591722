"""Calls: a node's methods, called by its address alone, by any other node and through it by any program."""
