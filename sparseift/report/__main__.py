"""python -m sparseift.report RUNS... [--out DIR]: tables, figures and a page of any number of runs."""

from .program import main

if __name__ == "__main__":
    main()
