"""CPU kernels that do in one pass over memory what torch does in dozens.

Every kernel computes the same as a formula that is written in torch, where it is read and runs on a
GPU. So the modules here explain how something is computed, not what. They follow these rules:

- **Value and gradient at once.** A loss is computed together with its gradient, so that nothing
  need be kept for a backward pass (:mod:`diffeode.fused.gradient`).
- **Rows along the last axis.** Voxels of a row lie next to each other in memory. The innermost loop
  runs along a row, so that the compiler can vectorise it, and what a row needs fits into the
  processor's cache.
- **Single precision for voxels, double precision for sums.** Images and gradients are float32,
  which halves the memory traffic. Sums over many voxels are float64, since they would lose digits
  in float32.
- **No dependence on threads.** Parallel loops write to places of their own, and every thread's
  partial sums are kept apart and added in a fixed order. So the result is the same to the bit,
  whatever the number of threads.
"""
