"""Real photos with labeled boxes: what is known of their objects, and sentences about them."""

from piza.data.scenes.attributes import attribute_words
from piza.data.streets.objects import MaybeBox, street_objects
from piza.data.streets.sentences import street_sentences

__all__ = ["MaybeBox", "attribute_words", "street_objects", "street_sentences"]
