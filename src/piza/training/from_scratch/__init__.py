"""How the embedded model `mini` is trained from nothing.

One subpackage for each part that learns, and for the data that it learns from; each imports from those above it only:

- `frames`: frames with their annotations, on disk.
- `words`: the vocabulary, and what the words of a sentence say.
- `base_model`: the grounder of the later looks, with fresh weights.
- `drawn_first_look`: a first look on the grounder's backbone, on drawn scenes alone; earlier versions had it.
- `streets`: annotations of real street photos, and sentences about them.
- `proposals`: the first look's proposal network, on a pretrained backbone.
- `lists`: the matcher, on lists of objects.
- `regions`: the region encoder, together with the matcher.

`later_looks` then trains the grounder on photos, and `assemble` makes a model folder of the parts. The commands stand in
`recipes/train_mini.py`, `recipes/train_first_look.py` and `recipes/train_streets.sh`.
"""
