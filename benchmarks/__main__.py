"""All benchmarks, one after the other: ``make bench``. Each can be run alone: ``python -m benchmarks.w1``."""

from benchmarks import arrival, backlog, bounces, choice, dkim, merge, post, search, small, w1, w3

for benchmark in (choice, small, bounces, merge, post, search, w1, dkim, w3, arrival, backlog):
    print(f"\n== {benchmark.__name__}: {(benchmark.__doc__ or '').splitlines()[0]}", flush=True)
    benchmark.main()
