"""What travels with a request or a job. The lowest floor: it imports nothing of ours."""
