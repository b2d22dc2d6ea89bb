"""Where images come from.

images.py     files, films, folders, patterns, lists and addresses become images, one after the other
addresses.py  those behind addresses, through fsspec
video.py      the frames of a film, with their times
"""
