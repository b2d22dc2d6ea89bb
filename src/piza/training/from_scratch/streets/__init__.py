"""Real street photos: their annotations, their split and sentences about them.

`teacher_boxes` has a pretrained detector fill in what the labels leave out, `labels` merges labels of several sources
with these boxes, `splits` says which photos are trained on, chosen on and tested on, and `rows` writes sentences.
"""
