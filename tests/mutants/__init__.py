"""Small faults, put into the code one at a time and by chance: what no test notices is what no test holds."""
