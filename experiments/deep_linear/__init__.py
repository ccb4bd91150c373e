"""Deep linear networks, exactly: the one deep model whose whole training is solved.

Two layers from any balanced start, modes one by one from small starts, kernels that align before the loss falls, the implicit
bias of diagonal networks, and what gradient descent conserves. A minute and a half on two cores.
"""
