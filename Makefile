# Needs Python >= 3.11, make and a C compiler; everything else (cmake and ninja too) goes into .venv.
# Each target installs what it needs, and installs again only when a source changed.

PYTHON = python3
EXTRAS = test
BIN = .venv/bin

help:
	@echo "make demo       install into .venv and run the demo"
	@echo "make dev        all that development needs, in .venv: edited Python needs no installing again, edited C needs make dev"
	@echo "make test       the Python tests, examples and documents included (ARGS='-k norm' chooses)"
	@echo "make test-c     the C tests, without Python"
	@echo "make tsan       ThreadSanitizer on the executor; needs clang"
	@echo "make asan       the Python tests on an extension module with address and undefined-behaviour sanitizers"
	@echo "make lint       ruff, mypy, import-linter, clang-format"
	@echo "make format     apply ruff and clang-format"
	@echo "make docs       the documents as a site, the reference of every public name included: docs/_build/html/index.html"
	@echo "make bench      hawfinch against its peers and against the machine; writes docs/performance.md (ARGS='--runs 3')"
	@echo "make gpu-check  the CUDA backend's own check"
	@echo "make clean      remove what was built; distclean removes .venv too"

dev:
	@$(MAKE) venv EXTRAS=dev

demo:
	@$(MAKE) venv EXTRAS=plot,progress
	$(BIN)/hawfinch demo

test:
	@$(MAKE) venv EXTRAS=test
	$(BIN)/pytest tests $(ARGS)

test-c: $(BIN)/cmake
	PATH="$$PWD/$(BIN):$$PATH" cmake -S . -B build/c -G Ninja \
	    -DHAWFINCH_PYTHON=OFF -DHAWFINCH_C_TESTS=ON -DHAWFINCH_WERROR=ON
	PATH="$$PWD/$(BIN):$$PATH" cmake --build build/c
	$(BIN)/ctest --test-dir build/c --output-on-failure

# ThreadSanitizer on the executor. The last line must report the race that it makes.
CLANG = $(firstword $(notdir $(wildcard /usr/bin/clang /usr/bin/clang-[12][0-9])) clang)
tsan: $(BIN)/cmake
	PATH="$$PWD/$(BIN):$$PATH" cmake -S . -B build/tsan -G Ninja -DCMAKE_C_COMPILER=$(CLANG) -DHAWFINCH_SANITIZE=thread \
	    -DHAWFINCH_PYTHON=OFF -DHAWFINCH_C_TESTS=ON
	PATH="$$PWD/$(BIN):$$PATH" cmake --build build/tsan --target test_plan test_threads
	export TSAN_OPTIONS=ignore_noninstrumented_modules=1:die_after_fork=0; \
	build/tsan/tests/c/test_threads && build/tsan/tests/c/test_plan && ! TSAN_OPTIONS="$$TSAN_OPTIONS:halt_on_error=1" build/tsan/tests/c/test_plan race 2>/dev/null && echo "no race but the one that is made"

# The address and undefined-behaviour sanitizers in the extension module, under the tests that cross the boundary most.
# An editable install is found before PYTHONPATH, so its finder is taken out of the way, and what is tested is asked for.
asan: $(BIN)/cmake
	@$(MAKE) venv EXTRAS=test
	PATH="$$PWD/$(BIN):$$PATH" $(BIN)/pip install --quiet --no-build-isolation --no-deps --upgrade --target build/asan-site . \
	    -Cbuild-dir=build/asan -Ccmake.define.HAWFINCH_SANITIZE=ON
	echo "import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in type(f).__module__]" \
	    > build/asan-site/sitecustomize.py
	export LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	    ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 PYTHONPATH=$$PWD/build/asan-site; \
	$(BIN)/python -c "from hawfinch import _core; assert 'asan-site' in _core.__file__, _core.__file__" && \
	$(BIN)/pytest -q -p no:cacheprovider $(or $(ARGS),$(addprefix tests/,compiler ops runtime nn train data files))

lint:
	@$(MAKE) venv EXTRAS=dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	find csrc tests/c -name '*.[ch]' -exec $(BIN)/clang-format --dry-run -Werror {} +

format:
	@$(MAKE) venv EXTRAS=dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	find csrc tests/c -name '*.[ch]' -exec $(BIN)/clang-format -i {} +

docs:
	@$(MAKE) venv EXTRAS=docs
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench:
	@$(MAKE) venv EXTRAS=bench
	$(BIN)/python bench/run.py $(ARGS)

gpu-check:
	@echo "gpu-check: this version of hawfinch has no CUDA backend, so there is nothing to check." >&2
	@exit 1

clean:
	rm -rf build dist docs/_build docs/reference/api .mypy_cache .pytest_cache .ruff_cache .hypothesis .venv/.installed-*

distclean: clean
	rm -rf .venv

# Installs hawfinch[EXTRAS] into .venv, editable, unless .venv/.installed-EXTRAS is newer than all that is compiled or says what to
# install: Python is imported from python/ as it stands. The stamp gets the time at which the build began, so that an edit made
# meanwhile is not missed. Folders count as sources: their times tell of deletions.
venv: $(BIN)/cmake
	@if [ -e .venv/.installed-$(EXTRAS) ] && [ -z "$$(find pyproject.toml CMakeLists.txt csrc python/hawfinch/*.pyx \
	    -newer .venv/.installed-$(EXTRAS) -print)" ]; then exit 0; fi; set -e; \
	echo "installing hawfinch[$(EXTRAS)] into .venv"; \
	touch .venv/.installing-$(EXTRAS); \
	PATH="$$PWD/$(BIN):$$PATH" $(BIN)/pip install --quiet --no-build-isolation --editable ".[$(EXTRAS)]"; \
	mv .venv/.installing-$(EXTRAS) .venv/.installed-$(EXTRAS)

# The build tools come from pyproject.toml. Without build isolation pip keeps build/<tag>, so that a rebuild compiles
# only what changed.
$(BIN)/cmake: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -c "import tomllib; \
	    print(*tomllib.load(open('pyproject.toml', 'rb'))['build-system']['requires'], sep='\n')" > .venv/build-tools.txt
	$(BIN)/pip install --quiet -r .venv/build-tools.txt 'cmake>=3.24' 'ninja>=1.11'
	@touch $(BIN)/cmake

.PHONY: tsan asan help dev demo test test-c lint format docs bench gpu-check clean distclean venv
