"""Training of the learned descriptor: contrasts of one person, and the contrastive loss."""
