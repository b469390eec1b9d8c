"""What is kept of runs and jobs: tables, their versions, and those who read and write them."""
