# Every verb of the house. POSIX sh and make 3.81; all work is in scripts/ and the package.
.POSIX:
SHELL = /bin/sh
BIN = .venv/bin

.PHONY: help install demo test torture crash check format lock clean

help:
	@echo "make demo          start everything with the simulator and print a checkout page to open"
	@echo "make demo AUTO=1   the same purchase without a person; prints the order's timeline"
	@echo "make test          run every test (installs what it needs, the browser included)"
	@echo "make torture       SEEDS=1000 BASE=0: simulate so many seeds; STATE=file remembers, to go on"
	@echo "make crash         kill -9 at every point of every path, and write docs/crash-matrix.md (one to three hours)"
	@echo "make crash PATH_=pay POINT=commit   only these cells; RESUME=1 goes on with the last run"
	@echo "make check         style, types and layers"
	@echo "make install       make the environment in .venv and nothing else"
	@echo "make format        rewrite the code in the house's style"
	@echo "make lock          resolve requirements/*.txt again"
	@echo "make clean         remove .venv and caches (never .checkstand, which holds data)"

install:
	@sh scripts/bootstrap run

demo: install
	@if [ -n "$(AUTO)" ]; then exec $(BIN)/checkstand demo --auto; \
	else $(BIN)/checkstand demo || [ $$? -eq 130 ]; fi  # Ctrl-C is how it ends

test:
	@sh scripts/bootstrap dev
	@sh scripts/install-browser
	@exec $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

torture:
	@sh scripts/bootstrap dev
	@exec $(BIN)/python -m torture run --seeds $${SEEDS:-1000} --base $${BASE:-0} \
	  $${STATE:+--state "$$STATE"}

crash:
	@sh scripts/bootstrap dev
	@exec nice $(BIN)/python -m crash $(if $(PATH_),--path $(PATH_)) $(if $(POINT),--point '$(POINT)') \
		$(if $(RESUME),--resume) $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

check:
	@sh scripts/bootstrap dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python scripts/generate_sync_client.py --check

format:
	@sh scripts/bootstrap dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock:
	@sh scripts/bootstrap dev
	@sh scripts/lock

clean:
	rm -rf .venv .crash .mypy_cache .ruff_cache .pytest_cache .hypothesis
