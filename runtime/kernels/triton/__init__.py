"""Kernels in Triton, one a file, for NVIDIA GPUs: the only modules that import triton.

Each file has a kernel and the op that launches it (`registered.py`: with a fake, so that `torch.compile` traces
through). `attention.py` and `ops.py` put them together behind the same interfaces as the CPU's. With
`TRITON_INTERPRET=1` in the environment before triton is first imported, they run on CPU tensors in Triton's
interpreter: slow, but right.
"""
