"""Answers about many images: as files for other programs, and as parts that many workers write.

sinks.py     the answers as a file, or a folder, in the format of another program
folders.py   a folder that is known to be unfinished until all of its files are there

run.py         a manifest of rows, answered by many workers, in parts that a rerun does not do again
manifest.py    its rows
storage.py     folders here or behind an address
parts.py       the folder of answers
jobs.py        what a worker does
crew.py        tasks for workers that may die; processes.py and ray_actors.py are kinds of workers
"""
