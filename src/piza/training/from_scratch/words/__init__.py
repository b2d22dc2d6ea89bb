"""The vocabulary of `mini`, and what the words of a sentence say.

`wordpiece` makes the first vocabulary from the sentences of a training, and `vocabulary` extends that of a trained
model. `target_words` reads from a sentence of SOREC what it says about its own target, as attribute words.
"""
