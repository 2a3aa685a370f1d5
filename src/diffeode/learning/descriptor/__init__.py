"""How the learned descriptor is trained: contrasts of one person, and the loss that tells places
apart in all.
"""
