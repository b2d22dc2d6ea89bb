"""Many images at once: where they come from, asking a model about each, and files of answers.

sources.py   files, films, folders, patterns, lists and addresses become images, one after the other
video.py     the frames of a film, with their times
locate.py    the same sentences about each image; an image that cannot be read is recorded and skipped
sinks.py     the answers as a file, or a folder, in the format of another program
folders.py   a folder that is known to be unfinished until all of its files are there

run.py         a manifest of rows, answered by many workers, in parts that a rerun does not do again
manifest.py    its rows
storage.py     folders here or behind an address
parts.py       the folder of answers
jobs.py        what a worker does
crew.py        tasks for workers that may die; processes.py and ray_actors.py are kinds of workers
"""
