"""What tests of every resource that the operator looks after share: how it is seen, and what the operator asked for."""
