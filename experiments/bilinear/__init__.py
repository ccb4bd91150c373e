"""Networks that are exactly a tensor: how bilinear layers learn, and what their eigenvectors say."""
