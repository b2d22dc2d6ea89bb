"""Making a data set of sentences about small things, as SOREC was made: propose, describe, check, verify, split.

Each step is a command and a function; between them are files of JSON lines (`records.py`), so that a step can be stopped,
gone on with, looked into and done by another program.
"""
