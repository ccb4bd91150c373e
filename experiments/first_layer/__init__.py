"""First layers of convolutional networks: which components of their patches filters learn, how fast, and from which labels.

Five experiments on real digits and photographs: a linear network beside its exact theory and the formula of the paper, true
against random labels, the profile against time, whitening, and a component that is amplified. Three minutes on two cores.
"""
