"""How the embedded model `mini` is trained from nothing."""
