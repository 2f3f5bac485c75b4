"""The images that the cluster runs: bases, builds, archives, bill of materials."""
