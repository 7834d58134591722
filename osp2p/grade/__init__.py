"""Judging programs that speak OSP2P, whoever wrote them: dialogues, attacks, worlds for downloaders, transcripts.

Nothing here prints, and nothing here knows who is asked: a verdict comes with the bytes that led to it.
"""
