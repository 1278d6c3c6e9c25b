# Two commands matter: `make run` starts CoquiMail, `make test` proves it. The rest is for those who work on it.
.PHONY: help run test quick check coverage soak bench requirements clean

PYTHON := .venv/bin/python
# What tests write has to outlast nothing: it lies in memory where there is plenty.
MEMORY := $(shell test -w /dev/shm && df -Pk /dev/shm | awk 'NR == 2 && $$4 > 6000000 { print "TMPDIR=/dev/shm" }')
# A test that hangs shows where after five minutes.
# What pytest makes of the tests is kept for the next run, wherever Python is told to keep nothing: each process would
# make it anew.
PYTEST := PYTHONDONTWRITEBYTECODE= $(PYTHON) -m pytest -o faulthandler_timeout=300
# What needs no server: ``coverage`` runs it, so ``test`` need not do it again.
PURE := tests/unit mail/message mail/decide

help:
	@echo "make run     start CoquiMail on http://127.0.0.1:8000 (PORT=8001 make run for another port)"
	@echo "make test    everything that has to be true: style, types, tests on real servers"
	@echo "make quick   what needs no server: unit tests, and the others on SQLite, in a minute"
	@echo "make check   style, types, dead code"
	@echo "make coverage  that unit tests and examples reach every line of what decides and reads"
	@echo "make soak    the long proofs (an hour); goes on where it stopped"
	@echo "make bench   speed against limits and peers"
	@echo "make clean   remove what these commands made, but not instance/ (the data)"

run:
	@sh scripts/bootstrap.sh run
	@exec $(PYTHON) scripts/serve.py

test:
	@sh scripts/bootstrap.sh test
	@$(MAKE) --no-print-directory -j 2 check $(if $(PYTEST_ARGS),,coverage)
	@$(MEMORY) $(PYTEST) -n 3 --dist loadfile --no-loadscope-reorder -m "not slow" \
		$(if $(PYTEST_ARGS),$(PYTEST_ARGS),$(addprefix --ignore=,$(PURE)))

quick:
	@sh scripts/bootstrap.sh check
	@$(MEMORY) $(PYTEST) -n 3 --quick -m "not slow and not heavy" $(PYTEST_ARGS)

check:
	@sh scripts/bootstrap.sh check
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy
	@$(PYTHON) scripts/dead_code.py

# Every line of mail/message and mail/decide has a unit test or an example in a docstring, without any server.
coverage:
	@sh scripts/bootstrap.sh check
	@$(MEMORY) $(PYTEST) -n 2 --cov=mail/message --cov=mail/decide --cov-fail-under=100 \
		--cov-report=term-missing:skip-covered $(PURE)

soak:
	@sh scripts/bootstrap.sh soak
	@$(PYTEST) --hypothesis-profile=search -k "not hostile" tests/unit
	@$(PYTEST) -p tests.soak $(PYTEST_ARGS) -m slow

bench:
	@sh scripts/bootstrap.sh bench
	@$(PYTHON) -m benchmarks

# Pin anew after a change of a requirements*.in file.
requirements:
	@sh scripts/bootstrap.sh requirements

clean:
	rm -rf .venv .cache .coverage .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
