"""The lab: builds the world of a scenario's table from real processes, and judges what came true."""
