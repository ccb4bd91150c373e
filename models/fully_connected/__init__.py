"""Networks without structure in their inputs."""
