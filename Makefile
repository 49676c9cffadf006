# make demo          segment a street photo with the small trained model of the project
# make serve         start the page and the HTTP interface; ARGS=its options, such as '--port 8080'
# make test-fast     run the core's tests in under a minute: layers, D3Net against its reference numbers, a
#                    network of each family, labels, losses, schedules, metrics, a tiny training, a segmentation
# make test          run all tests, except those of the targets below; long sweeps take a few members of each kind
# make test-all      run the same tests with the long sweeps: every network, every fault, all CamVid images
# make test-bench    run the tests of the benchmarks, of their tables and of the PyTorch peer;
#                    PEER_PYTHON=a Python with torch and numpy (required)
# make test-cuda-install    install the CUDA wheels (5 GB) into a fresh environment and import them; needs no GPU
# make test-gpu      run the tests that need NVIDIA GPUs, one or more; SHARED=folder of reference material and data,
#                    OUT=folder for the report gpu_tests.json (default: results)
# make lint          check style, types and the direction of imports
# make bench         time loader, training and inference, and update their tables in docs/backends.md; DATA=folder of
#                    Cityscapes, PEER_PYTHON=a Python with torch and numpy to compare with PyTorch, CAMVID=folder of
#                    CamVid to update the accuracy table
# make fuzz          feed damaged and hostile files to every reader, a few minutes; N=number of files (default: 5000);
#                    results/fuzz gets report.json and the files that fail
# make docs          build the pages of docs/ into site/, strictly: a link or an anchor that leads nowhere is an error
# make hooks         let git check style before a commit, imports and types before a push
# make cuda          install NNabla's CUDA extension into .venv
# make serve-environment   install what `make serve` needs
# make clean         remove .venv and all caches
# Every target finds or downloads a Python 3.10 and creates .venv first; later runs reuse it.

# The real path of any Python 3: a pyenv shim obeys .python-version here, and fails where 3.10 is missing.
PYTHON3 := $(shell cd / && for name in python3 python; do \
	$$name -c 'import sys; assert sys.version_info >= (3, 5); print(sys.executable)' 2>/dev/null && break; done)
RUN = .venv/bin/python
DEMO = resources/street.jpg
DEMO_OPTIONS = -cfg configs/D3Net_T_camvid.yaml --legend

.PHONY: demo test test-fast test-all test-bench test-cuda-install test-gpu lint fuzz docs hooks bench serve \
	environment environment-dev serve-environment cuda clean

demo: environment
	@$(RUN) infer.py -i $(DEMO) -o demo.jpg $(DEMO_OPTIONS)

serve: serve-environment
	@$(RUN) -m engine.serve $(ARGS)

test: environment-dev
	@$(RUN) -m pytest -n auto

test-fast: environment-dev
	@$(RUN) -m pytest -n auto -m 'fast and not long and not whole_registry'

test-all: environment-dev
	@$(RUN) -m pytest -n auto -m 'not cuda_install and not gpu and not bench'

test-bench:
	@'$(PEER_PYTHON)' -c 'import torch, numpy' 2>/dev/null || { echo "error: PEER_PYTHON='$(PEER_PYTHON)' is not a \
	Python with torch and numpy; run: python3 -m venv peer && peer/bin/python -m pip install torch numpy && \
	make test-bench PEER_PYTHON=peer/bin/python" >&2; exit 2; }
	@$(call bootstrap,requirements.txt requirements-deploy.txt requirements-serve.txt requirements-docs.txt requirements-dev.txt)
	@$(RUN) -m pytest -n auto -m bench

test-cuda-install: environment-dev
	@$(RUN) -m pytest -v -s -m cuda_install tests/cuda_install

test-gpu:
	@$(call bootstrap,requirements.txt requirements-cuda.txt requirements-dev.txt)
	@$(RUN) -m pytest -m gpu tests/gpu

lint: environment-dev
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) .venv/bin/lint-imports --no-cache
	@$(RUN) -m mypy

fuzz: environment
	@$(RUN) -m fuzz $(if $(N),-n $(N))

docs:
	@$(call bootstrap,requirements.txt requirements-docs.txt)
	@NO_MKDOCS_2_WARNING=true $(RUN) -m mkdocs build --strict

hooks: environment-dev
	@$(RUN) -m pre_commit install --hook-type pre-commit --hook-type pre-push

bench:
	@$(call bootstrap,requirements.txt requirements-deploy.txt)
	@$(RUN) -m benchmarks.suite $(if $(DATA),-d $(DATA)) $(if $(CAMVID),--camvid $(CAMVID)) \
		$(if $(PEER_PYTHON),--peer-python $(PEER_PYTHON))

environment:
	@$(call bootstrap,requirements.txt)

environment-dev:
	@$(call bootstrap,requirements.txt requirements-deploy.txt requirements-serve.txt requirements-docs.txt requirements-dev.txt)

serve-environment:
	@$(call bootstrap,requirements.txt requirements-serve.txt)

cuda:
	@$(call bootstrap,requirements.txt requirements-cuda.txt)

clean:
	rm -rf .venv .uv .pytest_cache .ruff_cache .mypy_cache

bootstrap = $(if $(PYTHON3),$(PYTHON3) tools/bootstrap.py $(1),\
	{ echo 'error: no python3 here; install Python 3 (any version) with pip, then type make again' >&2; exit 2; })
