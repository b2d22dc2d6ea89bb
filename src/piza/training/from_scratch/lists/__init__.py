"""The matcher, which scores the objects of a list for a sentence, and the lists that it is taught on.

First on what is known of the objects, without images: `drawn` writes lists of drawn scenes, `object_lists` reads lists
and blurs what is known, and `train_matcher` is the training. Then on what the proposal network really lists: `cached`
keeps its lists on disk, `listed_frames` pairs them with sentences, `batches` makes batches of them, and `reader` is the
module that learns.
"""
