"""CPU kernels that do in one pass over memory what torch does in dozens; each equals a formula
written in torch.
"""
