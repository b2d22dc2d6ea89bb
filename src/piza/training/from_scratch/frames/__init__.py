"""Frames to train on, with what is known of the objects in them.

`cache` keeps frames of one size on disk as plain arrays, so that none is decoded in training. `sources` fills such a
cache with drawn scenes or photos, `scene_caches` draws frames and parts of frames from several, and `sign_photos` adds
photos of traffic signs, augmented by signs of other photos.
"""
