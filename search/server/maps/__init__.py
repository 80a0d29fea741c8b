"""Where stored videos lie on a plane by how alike they are."""
