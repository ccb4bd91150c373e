"""SGD on XOR: a two-layer ReLU network finds, then tunes, its features.

Seven experiments on the two phases of SGD, the length of the first, minibatch noise, single neurons in the plane of the
label, margins, layers that stay fixed, and the number of samples. Three minutes on two cores.
"""
