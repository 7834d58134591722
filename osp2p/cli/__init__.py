"""The commands: arguments in, lines, bars, JSON and exit codes out. The only place that prints.

Nothing here imports trio before it is certain that a command will run: ``--help`` and a mistyped option answer at once.
"""
