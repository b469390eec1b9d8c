"""What works on runs and jobs: the worker's processes, and who watches over them."""
