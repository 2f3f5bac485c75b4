"""Who uses a Secret, how they are made to follow, and how it is known that they do."""
