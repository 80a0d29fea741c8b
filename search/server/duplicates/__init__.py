"""Videos that share footage, as groups, and what people decide about them."""
