"""The base model of `mini`: a small grounder that learns from fresh weights, and does the later looks of a search.

`model` makes it, `batches` and `window_batches` are what it is trained on, `relevance` holds its auxiliary losses,
`batch_norm` lets its batch norm learn, and `stages` runs the training. `recipes/train_mini.py` is the command.
"""
