# Everything a person or CI does with this repository. `make` alone prints the list.
#
# Plain POSIX sh and nothing newer than GNU make 3.81, which is what macOS ships. No recipe
# names an absolute path of the clone, so spaces in it do no harm.

PYTHON ?=
# Not `?=`: a PORT of the environment is meant for something else.
PORT :=
TORCH_INDEX ?=
ROUNDS := 200
SEED :=
ROOM_MB ?= 3000
TORCH := torch==2.13.0
PIP := .venv/bin/python -m pip --disable-pip-version-check --no-input

.DEFAULT_GOAL := help
.PHONY: help install demo up test check lint types contracts fmt bench chaos mutants libraries clean torch-of-index

help: ## this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "  PYTHON=/path/to/python3.11   another Python than the first one found"
	@echo "  PORT=8001                    another port than 8000, for demo and up"
	@echo "  ROUNDS=200 SEED=7            how many rounds of chaos, and which: a run prints its seed"
	@echo "  TORCH_INDEX=<url>            another build of $(TORCH), from the index at <url>"

install: .venv/.ready ## make .venv and install Gradbook into it

demo: .venv/.ready ## everything from nothing: the embedded stack and one real training job
	@.venv/bin/gradbook demo $(if $(PORT),--port $(PORT))

up: .venv/.ready ## serve the default data folder until Ctrl-C
	@.venv/bin/gradbook up $(if $(PORT),--port $(PORT))

# A file of tests stays in one process, and the files with few and long tests don't come last.
test: .venv/.dev ## every test, on PostgreSQLs and a Valkey of their own
	@.venv/bin/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(PYTEST)

check: .venv/.dev ## lint, types and import contracts, side by side
	@$(MAKE) --no-print-directory -k -j3 lint types contracts

lint: .venv/.dev ## ruff: rules and format
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .

types: .venv/.dev ## mypy, strict
	@.venv/bin/mypy

contracts: .venv/.dev ## who may import whom
	@.venv/bin/lint-imports --no-logo

fmt: .venv/.dev ## write what ruff can mend
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

bench: .venv/.dev ## run every benchmark
	@for bench in benchmarks/bench_*.py benchmarks/simulate_fleet.py; do \
		.venv/bin/python -m "benchmarks.$$(basename "$$bench" .py)" || failed=1; done; exit $${failed:-0}

chaos: .venv/.dev ## hurt a real stack round after round, and hold its book against the promise
	@.venv/bin/python -m tests.chaos --rounds $(ROUNDS) $(if $(SEED),--seed $(SEED))

mutants: .venv/.dev ## break the promise on purpose, and see a named test turn red
	@.venv/bin/python -m tests.mutants

# Beside .venv's packages, torch among them, and not among them: no test of ours may need these.
LIBRARIES := 'lightning>=2.6,<3' 'transformers>=5.24,<6' 'accelerate>=1.15,<2'
PURELIB := -c 'import sysconfig; print(sysconfig.get_path("purelib"))'

libraries: .venv/.dev ## Lightning's and Hugging Face's trainers as programs, in an environment of their own
	@.venv/bin/python -m venv --without-pip .venv/libraries
	@.venv/bin/python $(PURELIB) >"$$(.venv/libraries/bin/python $(PURELIB))/outer.pth"
	@.venv/libraries/bin/python -m pip --disable-pip-version-check --no-input install -q $(LIBRARIES)
	@.venv/libraries/bin/python -m pytest tests/libraries

clean: ## take away .venv and the caches; the data folder stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info

# --- the virtual environment ------------------------------------------------------------------
# .made: it exists. .ready: what runs Gradbook is in it. .dev: what tests it is, too.
# The stamps make a second run instant; a change of pyproject.toml installs again.

.venv/.made:
	@$(find_python); $(look_for_room); \
	echo "Making .venv with $$python ($$version)"; \
	"$$python" -m venv .venv || { \
	    echo "$$python cannot make a virtual environment: install its venv module" \
	         "(Debian: apt install python$$version-venv), then run this again." >&2; exit 1; }; \
	touch $@

# An index that was named, and is not the one that the installed torch came from.
ifneq ($(TORCH_INDEX),)
ifneq ($(TORCH_INDEX),$(shell cat .venv/.torch-index 2>/dev/null))
torch_of_index := torch-of-index
endif
endif

torch-of-index: | .venv/.made
	@$(PIP) uninstall -q -y torch 2>/dev/null
	@$(call pip_install,$(TORCH) from $(TORCH_INDEX),--index-url '$(TORCH_INDEX)' $(TORCH))
	@echo '$(TORCH_INDEX)' >.venv/.torch-index

.venv/.ready: pyproject.toml $(torch_of_index) | .venv/.made
	@$(call pip_install,Gradbook,-e .)
	@touch $@

.venv/.dev: pyproject.toml $(torch_of_index) | .venv/.made
	@$(call pip_install,Gradbook and what tests it,-e '.[dev]')
	@touch .venv/.ready $@

# Sets $python and $version, or names the cure. A candidate is run before it is believed: a
# version manager's shim answers to every name and runs only some.
define find_python
if [ -n "$(PYTHON)" ]; then set -- "$(PYTHON)"; \
else set -- python3.11 python3.12 python3.13 python3; fi; \
python=; seen=; \
for name in "$$@"; do \
    version=$$("$$name" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) \
        || continue; \
    seen="$$seen $$name ($$version)"; \
    if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then python=$$name; break; fi; \
done; \
if [ -z "$$python" ]; then \
    echo "Gradbook needs Python 3.11 or newer; found:$${seen:- none (tried $$*)}." >&2; \
    echo "Install one (Debian: apt install python3.11 python3.11-venv; macOS:" \
         "brew install python@3.11) and say: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; \
    exit 1; \
fi
endef

define look_for_room
free=$$(df -Pk . | awk 'NR == 2 {print int($$4 / 1024)}'); \
if [ "$$free" -lt $(ROOM_MB) ]; then \
    echo "Only $$free MB are free here, and the installation needs about $(ROOM_MB) MB." >&2; \
    echo "Free some room, or clone onto a larger disk. (To try all the same:" \
         "make $(MAKECMDGOALS) ROOM_MB=0)" >&2; \
    exit 1; \
fi
endef

# pip's whole output goes to .venv/install.log; on the screen are the long steps only.
# A pipeline's status is its last part's, so pip's own is written as the log's last line.
define pip_install
echo "Installing $(1)"; \
{ $(PIP) install --progress-bar off $(2) 2>&1; echo "pip ended with $$?"; } \
    | tee .venv/install.log \
    | while IFS= read -r line; do case "$$line" in \
        *"Downloading "*" MB)"|*"Using cached "*" MB)"|*"Processing /"*"/torch-"*) echo "$${line%% (from *}";; \
        "Installing collected packages"*) echo "  Unpacking $$(echo "$$line" | tr ',' '\n' | wc -l | tr -d ' ') packages";; \
      esac; done; \
if ! tail -n 1 .venv/install.log | grep -q '^pip ended with 0$$'; then \
    grep -E '^ *(ERROR|error|WARNING: Retrying)' .venv/install.log | tail -n 8 >&2; \
    if grep -q 'No space left' .venv/install.log; then \
        echo "The disk is full. Free some room here and in $${TMPDIR:-/tmp}; the CPU build of" \
             "torch is by far the smallest: see TORCH_INDEX in README.md." >&2; \
    elif grep -q -E 'Retrying|Connection|resolution|No matching' .venv/install.log; then \
        echo "The package index did not answer, or lacks a package for this Python and" \
             "platform. Look at the network and at PIP_INDEX_URL, then run this again." >&2; \
    fi; \
    echo "The whole story is in .venv/install.log" >&2; exit 1; \
fi
endef
