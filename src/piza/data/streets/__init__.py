"""Real photos with labeled boxes: what is known of their objects, and sentences about them."""

from piza.data.streets.objects import MaybeBox, street_objects
from piza.data.streets.sentences import attribute_words, street_sentences

__all__ = ["MaybeBox", "attribute_words", "street_objects", "street_sentences"]
