"""The grammar of OSP2P, sans-IO: bytes in, values out, and back. It knows no socket, clock or randomness."""
