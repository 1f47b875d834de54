# The few commands a person needs; everything else is CMake (see CMakePresets.json).
JOBS ?= $(shell nproc)

.PHONY: help setup setup-dev build assets demo test format tidy fuzz install clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup:  ## install what is missing: Debian packages, and libtorch and the model in .venv
	@scripts/setup.sh

setup-dev:  ## the same, and the tools for formatting, linting and fuzzing
	@scripts/setup.sh --dev

build: setup  ## build the program: build/release/beacon
	@cmake --preset release --log-level=WARNING
	@cmake --build --preset release -j $(JOBS) --target beacon

assets: setup  ## get the default model and six novels into .assets
	@scripts/assets.sh

demo: build assets  ## read a whole novel and answer from the memory
	@scripts/demo.sh

test: setup assets  ## build everything and pass all tests (TESTS='-L unit' chooses)
	@cmake --preset release --log-level=WARNING
	@cmake --build --preset release -j $(JOBS)
	@ctest --preset release $(TESTS)

format:  ## clang-format on every source file
	@scripts/format.sh

tidy:  ## clang-tidy on the files changed since BASE (default HEAD; BASE=all for every file)
	@scripts/tidy.sh $(BASE)

fuzz:  ## run every fuzz target for SECONDS (default 60) and print how often it ran
	@scripts/fuzz.sh $(SECONDS)

install: build  ## install the library, its headers and the program under PREFIX (default /usr/local)
	@cmake --build --preset release -j $(JOBS) --target beacon_shared
	@cmake --install build/release --prefix $(or $(PREFIX),/usr/local)

clean:  ## remove what was built; .venv and .assets stay
	@rm -rf build
