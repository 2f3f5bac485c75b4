"""`kubectl slipway`: what a release is at, and the next command to type. It asks through kubectl, and knows no kopf."""
