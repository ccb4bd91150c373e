"""Why representations are taken before the projection head: weights of features after every layer of a contrastive network.

Five experiments on a linear network with the spectral contrastive loss, beside its exact theory: weights before and behind the
head, learning curves, depth, the plane in which the layer before the head is better, and weight decay.
"""
