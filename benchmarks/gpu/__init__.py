"""What the GPU kernels, the training steps and the sampler do on one GPU, in one command.

Nothing here needs TensorFlow, absl or a file of data; PyTorch, the baseline, is optional.
"""
