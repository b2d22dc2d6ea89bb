"""The region encoder, which describes an object by a crop of the original pixels; it is taught together with the matcher.

`named` reads regions with what people call them, `sentences` makes sentences of those names, and `pixels` cuts crops out of
pictures on the device. `namer` teaches the encoder the names, `reader` joins encoder and matcher, and `train` is the training.
"""
