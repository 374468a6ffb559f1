"""The crash matrix: kill -9 at every point there is, start again, and look at the books.

Real processes on a real PostgreSQL with fsync on, and a simulator whose books are the judge. The
points are not listed here: a clean run of each path records every point that a door's observer
is told of, so that new code is covered by itself. A path is one function in `paths.PATHS`.

`lane` is a gateway with its surroundings and `programs` its processes; `scene` is what a shop and
a shopper do, and `standing` what became of an order and whether that is right; `matrix` runs the
cells, `hardships` what is no matter of points; `report` writes the page.
"""
