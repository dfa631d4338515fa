"""What a job does and whether it may; how many at once is `pipelines`."""
