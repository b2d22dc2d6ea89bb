"""The proposal network, which lists the objects of a frame for the first look.

It starts from the pretrained weights that `nanodet_weights` reads. `crops` makes its samples from drawn scenes and
photos, `loss` its losses, `train` is the training itself, and `recall` counts how many labeled objects a list holds.
`street_words.json` are the attribute words by which it describes an object, in the order of its outputs.
"""
