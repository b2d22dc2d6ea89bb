"""The first look of earlier versions of `mini`: proposals on the grounder's own backbone, taught on drawn scenes alone.

`batches` makes frames and lists of known objects, `stages` trains proposal network and matcher on them.
`recipes/train_first_look.py` is the command; its scenes (`stages.write_scenes`) serve today's training, too.
"""
