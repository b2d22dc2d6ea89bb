"""Making a data set of sentences about small objects, as SOREC was made: propose, describe, check, verify, split.

Each step is a command and a function; between them are files of JSON lines (`records.py`), so that a step can be
stopped, resumed, inspected, or replaced by another program.
"""
