# make demo    segment a street photo with the small trained model that comes with the project
# make test    run the tests, the slow ones with a few networks of each family
# make test-all    run the tests with every network
# make test-cuda-install    install the CUDA wheels into a fresh environment and import them, without a GPU; 5 GB
# make test-gpu    run the tests that need NVIDIA GPUs, one or more; SHARED=folder of reference material and data,
#                  OUT=folder for the table as gpu_tests.json (default: results)
# make bench   time loader, training and inference, and refresh their tables in README.md; DATA=folder of Cityscapes,
#              PEER_PYTHON=a Python with torch to compare with, CAMVID=folder of CamVid to score 8-bit numbers on
# make hooks  make git check style before a commit, imports and types before a push
# Each target first finds or downloads a Python 3.10 and creates .venv; later runs reuse it.

# Any Python 3, by its real path: a pyenv shim would obey .python-version and fail if 3.10 is missing.
PYTHON3 := $(shell cd / && for name in python3 python; do \
	$$name -c 'import sys; assert sys.version_info >= (3, 5); print(sys.executable)' 2>/dev/null && break; done)
RUN = .venv/bin/python
DEMO = resources/street.jpg
# The model was trained on images 480 pixels wide; the photo has 751.
DEMO_OPTIONS = -cfg configs/D3Net_T_camvid.yaml --scale 0.64 --legend

.PHONY: demo test test-all test-cuda-install test-gpu lint bench hooks environment environment-dev cuda clean

demo: environment
	@$(RUN) infer.py -i $(DEMO) -o demo.jpg $(DEMO_OPTIONS)

test: environment-dev
	@$(RUN) -m pytest -n auto

test-all: environment-dev
	@$(RUN) -m pytest -n auto -m 'not cuda_install and not gpu'

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

hooks: environment-dev
	@$(RUN) -m pre_commit install --hook-type pre-commit --hook-type pre-push

bench:
	@$(call bootstrap,requirements.txt requirements-deploy.txt)
	@$(RUN) -m benchmarks.suite $(if $(DATA),-d $(DATA)) $(if $(CAMVID),--camvid $(CAMVID)) \
		$(if $(PEER_PYTHON),--peer-python $(PEER_PYTHON))

environment:
	@$(call bootstrap,requirements.txt)

environment-dev:
	@$(call bootstrap,requirements.txt requirements-deploy.txt requirements-dev.txt)

cuda:
	@$(call bootstrap,requirements.txt requirements-cuda.txt)

clean:
	rm -rf .venv .uv .pytest_cache .ruff_cache .mypy_cache

bootstrap = $(if $(PYTHON3),$(PYTHON3) tools/bootstrap.py $(1),\
	{ echo 'error: no python3 here; install Python 3 (any version) with pip, then type make again' >&2; exit 2; })
